"""Writes supervisor's configuration: which process runs what."""

from labcloud.configure import Config, write

# name: WSGI file, port, processes
WSGI = {
    "keystone": ("/usr/bin/keystone-wsgi-public", 5000, 2),
    "placement": ("/usr/bin/placement-api", 8778, 1),
}

# name: module with main(), its arguments. Debian's packages of the daemons would bring libvirt and qemu.
DAEMONS = {
    "neutron": ("neutron.cmd.eventlet.server", "--config-file /etc/neutron/neutron.conf"),
    "nova-api": ("nova.cmd.api_os_compute", ""),
    "cinder-api": ("cinder.cmd.api", ""),
    "glance": ("glance.cmd.api", ""),
    "nova-conductor": ("nova.cmd.conductor", ""),
    "nova-scheduler": ("nova.cmd.scheduler", ""),
    "nova-compute": ("nova.cmd.compute", ""),
    "cinder-scheduler": ("cinder.cmd.scheduler", ""),
    "cinder-volume": ("cinder.cmd.volume", ""),
}

# what all others need; started before them. A queue has nothing to keep: it begins empty at every start.
FOUNDATION = {
    "mariadb": "/usr/sbin/mariadbd --user=mysql",
    "rabbitmq": (
        "/usr/bin/setpriv --reuid rabbitmq --regid rabbitmq --init-groups"
        " env HOME=/var/lib/rabbitmq /usr/lib/rabbitmq/bin/rabbitmq-server"
    ),
    "memcached": "/usr/bin/memcached -u memcache -m 32 -l 127.0.0.1",
}


def wsgi(file: str, port: int, processes: int) -> str:
    """The command line. Without the header, clients would use a connection again that uwsgi has closed."""
    return (
        f"/usr/bin/uwsgi --plugins python3 --master --die-on-term --need-app --enable-threads --threads 6"
        f" --processes {processes} --buffer-size 65535 --http-socket 127.0.0.1:{port} --wsgi-file {file}"
        f" --disable-logging --add-header 'Connection: close' --socket-timeout 120 --listen 100"
    )


def main() -> None:
    """Foundation first, the rest when the start script says so."""
    commands = dict(FOUNDATION)
    commands |= {name: wsgi(*of) for name, of in WSGI.items()}
    commands |= {
        name: f"/usr/bin/python3 -m labcloud.daemon {module} {rest}".strip()
        for name, (module, rest) in DAEMONS.items()
    }
    config: Config = {
        "supervisord": {"nodaemon": "true", "user": "root", "logfile": "/dev/null", "logfile_maxbytes": 0},
        "unix_http_server": {"file": "/run/supervisor.sock"},
        "rpcinterface:supervisor": {
            "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
        },
        "supervisorctl": {"serverurl": "unix:///run/supervisor.sock"},
    }
    for name, command in commands.items():
        config[f"program:{name}"] = {
            "command": command,
            "autostart": "true" if name in FOUNDATION else "false",
            "startsecs": 1,
            "startretries": 5,
            "stopasgroup": "true",
            "killasgroup": "true",
            "stopwaitsecs": 20 if name in FOUNDATION else 3,
            "redirect_stderr": "true",
            "stdout_logfile": f"/var/log/labcloud/{name}.log",
            "stdout_logfile_maxbytes": "20MB",
            "stdout_logfile_backups": 1,
        }
    write("/etc/supervisor/supervisord.conf", config)


if __name__ == "__main__":
    main()
