#!/usr/bin/python
"""Reads where a host's container engine keeps its data, and what contradicts our settings."""

import json
import re
import shlex
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: docker_engine_state
short_description: Where a container engine keeps its data, and what contradicts our settings
description:
  - Asks the running engine first (C(docker info) and the command line of dockerd), and reads configuration
    files only for an engine that does not run.
  - Decides for each data directory of the engine whether it is moved to the data volume, or whether the
    engine has only lost the setting that names the directory on the data volume.
  - It only reads, also in check mode.
options:
  data_root:
    description: The wanted data directory of Docker.
    type: path
    required: true
  containerd_root:
    description: The wanted data directory of containerd.
    type: path
    required: true
  move_record:
    description: File that exists while a move to the data volume is under way.
    type: path
    required: true
  keys:
    description: Keys of daemon.json that are going to be set.
    type: list
    elements: str
    required: true
author: The CbM onboarding authors
"""

EXAMPLES = r"""
- name: Read the state of the container engine
  docker_engine_state:
    data_root: /data/docker
    containerd_root: /data/containerd
    move_record: /data/docker-move.json
    keys: [data-root, userland-proxy]
  register: engine
"""

RETURN = r"""
installed: {description: Whether there is a dockerd., returned: always, type: bool}
foreign: {description: Whether it comes from another package than docker.io., returned: always, type: bool}
version: {description: Its major version, returned: always, type: int}
options: {description: The site's daemon.json., returned: always, type: dict}
containerd_configured: {description: Whether containerd has a config.toml., returned: always, type: bool}
moves: {description: "Trees to move, each with name, from and to.", returned: always, type: list}
strays: {description: Trees that an engine without its settings has begun., returned: always, type: list}
problems: {description: A sentence for each contradiction., returned: always, type: list}
"""

DAEMON_JSON = Path("/etc/docker/daemon.json")
CONTAINERD_TOML = Path("/etc/containerd/config.toml")
# by these a directory is an engine's; the second line is containerd's
ENGINE_DIRECTORIES = {
    *("containers", "volumes", "image", "buildkit", "swarm"),
    *("io.containerd.content.v1.content", "io.containerd.metadata.v1.bolt"),
}
DEFAULT_ROOTS = {"docker": "/var/lib/docker", "containerd": "/var/lib/containerd"}
CONFLICT = (
    "{to} and {from} both hold data. The container engine uses {from}, and the database may be in {to}."
    " Nothing is changed. To use {to}, stop the engine, set its data directory to {to}, and start it; what"
    " {from} holds stays. To use {from}, name an empty directory in {variable}."
)
ROOT_VARIABLES = {"docker": "docker_engine_data_root", "containerd": "docker_engine_containerd_root"}
# dockerd(8): flags with a key in daemon.json; dockerd does not start with a directive given both ways
FLAG_KEYS = {
    "-g": "data-root",
    "--graph": "data-root",
    "-s": "storage-driver",
    "--log-opt": "log-opts",
    "--default-address-pool": "default-address-pools",
}
# what a site may have set that keeps the database unreachable or its files foreign
CONTRADICTIONS = {
    "iptables": (lambda value: value is False, "the database's port would not be published"),
    "bridge": (lambda value: value == "none", "containers would have no network"),
    "userns-remap": (bool, "files on the data volume would belong to other users"),
}


def flags(argv):
    """Return (flag, value) of a command line; the value is 'true' for a flag without one."""
    found, words = [], list(argv)
    for position, word in enumerate(words):
        if not word.startswith("-") or word == "-":
            continue
        name, equals, value = word.partition("=")
        following = words[position + 1 : position + 2]
        if not equals:
            value = following[0] if following and not following[0].startswith("-") else "true"
        found.append((name, value))
    return found


def key_of(flag):
    """Return the key of daemon.json that a flag stands for."""
    return FLAG_KEYS.get(flag, flag.lstrip("-"))


def value_of(text):
    """Return a flag's value as daemon.json would have it."""
    return {"true": True, "false": False}.get(text.lower(), text)


def contradictions(options, given, keys, where):
    """Return a sentence for each flag that daemon.json may not repeat or that conflicts with our settings.

    `given` is what flags() returns for the running dockerd, `where` names the file that sets a flag.
    """
    found = []
    for flag, value in given:
        key = key_of(flag)
        if key in keys:
            found.append(
                f"dockerd is started with {flag} {value} ({where(flag)}), and refuses to start with the same"
                f' setting in {DAEMON_JSON}. Write "{key}" into {DAEMON_JSON} instead of the flag.'
            )
        elif key == "config-file" and value != str(DAEMON_JSON):
            found.append(
                f"dockerd reads {value} instead of {DAEMON_JSON} ({where(flag)})."
                f" Merge that file into {DAEMON_JSON} and remove the flag."
            )
    settings = [(str(DAEMON_JSON), key, value) for key, value in options.items()]
    settings += [(where(flag), key_of(flag), value_of(value)) for flag, value in given]
    for source, key, value in settings:
        wrong, consequence = CONTRADICTIONS.get(key, (lambda _: False, ""))
        if wrong(value):
            found.append(f"{source}: '{key}' is {json.dumps(value)}, so {consequence}. Remove that setting.")
    return found


def decide(current, wanted, *, target, busy, chosen, move_open):
    """Return ("keep" | "move" | "restore" | "conflict") for a data directory.

    `target` says what the wanted directory holds ("nothing", "engine" or "other"), `busy` whether the current
    one has containers, volumes or images, and `chosen` whether a configuration file names the current one.
    """
    if current == wanted:
        return "keep"
    if target == "nothing" or move_open:
        return "move"
    # an empty engine in its default directory, beside one with data on the data volume: the setting was lost
    return "restore" if target == "engine" and not busy and not chosen else "conflict"


def holds(directory):
    """Return what a data directory holds: "nothing", "engine" or "other"."""
    names = {path.name for path in directory.iterdir()} if directory.is_dir() else set()
    if not names:
        return "nothing"
    return "engine" if names & ENGINE_DIRECTORIES else "other"


def is_busy(directory):
    """Whether an engine's directory has containers, volumes or images (in containerd: content)."""
    places = (
        "containers",
        "volumes",
        "image/*/imagedb/content/sha256",
        "io.containerd.content.v1.content/blobs/*",
    )
    return any(
        path.is_dir() or path.parent.name == "sha256"
        for place in places
        for path in directory.glob(f"{place}/*")
    )


def read_json(path):
    """Return (options, problem)."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return {}, None
    try:
        options = json.loads(text or "{}")
    except ValueError as error:
        return {}, f"{path} is not valid JSON: {error}. Correct that line."
    return (options, None) if isinstance(options, dict) else ({}, f"{path} must hold a JSON object.")


def containerd_root(text):
    """Return the root in a config.toml, or containerd's default."""
    found = re.search(r"""(?m)^root\s*=\s*["']([^"']+)""", text)
    return found[1] if found else DEFAULT_ROOTS["containerd"]


class Host:
    """Reads from the host by its programs."""

    def __init__(self, module):
        self.module = module

    def answer(self, *command):
        """Return the standard output, empty if the program fails or is missing."""
        if not self.has(command[0]):
            return ""
        code, stdout, _ = self.module.run_command(list(command))
        return stdout if code == 0 else ""

    def has(self, program):
        """Whether a program is installed."""
        return self.module.get_bin_path(program, opt_dirs=["/usr/sbin", "/usr/local/sbin"]) is not None

    def command_line(self, unit):
        """Return the arguments of a unit's running process, else those that systemd would start."""
        pid = self.answer("systemctl", "show", "--property=MainPID", "--value", unit).strip() or "0"
        try:
            raw = Path("/proc", pid, "cmdline").read_bytes()
        except OSError:
            raw = b""
        if raw:
            return raw.decode(errors="replace").split("\0")[1:-1]
        found = re.search(r"argv\[\]=(.*?) ;", self.answer("systemctl", "show", "--property=ExecStart", unit))
        return shlex.split(found[1])[1:] if found else []

    def source_of(self, unit, flag):
        """Return the file that sets a flag: a unit file, a drop-in, or an environment file."""
        files = re.findall(r"(?m)^# (/\S+)$", self.answer("systemctl", "cat", unit))
        files += re.findall(
            r"EnvironmentFiles?=-?(\S+)",
            self.answer("systemctl", "show", "--property=EnvironmentFiles", unit),
        )
        for name in reversed(files):
            try:
                lines = Path(name).read_text(errors="replace").splitlines()
            except OSError:
                continue
            if any(
                re.search(rf"(^|[\s\"'=]){re.escape(flag)}([\s=\"']|$)", line)
                for line in lines
                if line[:1] != "#"
            ):
                return name
        return f"the command line of {unit}"

    def foreign(self):
        """Whether dockerd comes from another package than Debian's docker.io."""
        return self.has("dockerd") and not self.answer("dpkg-query", "--search", "*bin/dockerd").startswith(
            "docker.io:"
        )


def current_roots(host, options):
    """Return the data directories in use: the running engine's, else the configured ones."""
    running = host.answer("timeout", "30", "docker", "info", "--format", "{{.DockerRootDir}}").strip()
    text = CONTAINERD_TOML.read_text() if CONTAINERD_TOML.exists() else ""
    return {
        "docker": running or options.get("data-root") or DEFAULT_ROOTS["docker"],
        "containerd": containerd_root(text),
    }


def trees(current, asked):
    """Return the data directories that are not where they should be, by what decide() says."""
    found = {"keep": [], "move": [], "restore": [], "conflict": []}
    for name, wanted in (("docker", asked["data_root"]), ("containerd", asked["containerd_root"])):
        root, target = Path(current[name]), Path(wanted)
        if root.exists():
            action = decide(
                root.resolve(),
                target.resolve(),
                target=holds(target),
                busy=is_busy(root),
                chosen=current[name] != DEFAULT_ROOTS[name],
                move_open=Path(asked["move_record"]).exists(),
            )
            found[action].append({"name": name, "from": current[name], "to": wanted})
    return found


def main():
    """Ask, read, decide."""
    module = AnsibleModule(
        argument_spec={
            "data_root": {"type": "path", "required": True},
            "containerd_root": {"type": "path", "required": True},
            "move_record": {"type": "path", "required": True},
            "keys": {"type": "list", "elements": "str", "required": True, "no_log": False},
        },
        supports_check_mode=True,
    )
    asked = module.params
    host = Host(module)
    options, unreadable = read_json(DAEMON_JSON)
    found = [unreadable] if unreadable else []
    result = {"installed": host.has("dockerd"), "foreign": False, "version": 0, "moves": [], "strays": []}
    if result["installed"]:
        version = re.search(r"version (\d+)", host.answer("dockerd", "--version"))
        result.update(foreign=host.foreign(), version=int(version[1]) if version else 0)
        sorted_trees = trees(current_roots(host, options), asked)
        result.update(moves=sorted_trees["move"], strays=sorted_trees["restore"])
        # a moved engine keeps its storage driver by daemon.json
        keys = asked["keys"] + (["storage-driver"] if result["moves"] else [])
        given = flags(host.command_line("docker.service"))
        found += contradictions(options, given, keys, lambda flag: host.source_of("docker.service", flag))
        for flag, value in flags(host.command_line("containerd.service")):
            if flag == "--root" and value != asked["containerd_root"]:
                where = host.source_of("containerd.service", flag)
                found.append(
                    f"containerd is started with --root {value} ({where})."
                    f' Write root = "{value}" into {CONTAINERD_TOML} instead of the flag.'
                )
        found += [
            CONFLICT.format(variable=ROOT_VARIABLES[tree["name"]], **tree)
            for tree in sorted_trees["conflict"]
        ]
    result["containerd_configured"] = CONTAINERD_TOML.exists()
    module.exit_json(changed=False, options=options, problems=found, **result)


if __name__ == "__main__":
    main()
