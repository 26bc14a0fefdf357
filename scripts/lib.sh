# shellcheck shell=bash
# What the scripts share; sourced by them.

# Debian keeps losetup and other administrators' commands off an ordinary user's PATH.
export PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

say() { printf '%s\n' "$*" >&2; }

# die SENTENCE [LINE TO RUN BY HAND]
die() {
  printf '\n%s\n' "$1" >&2
  [ -z "${2:-}" ] || printf 'By hand:  %s\n' "$2" >&2
  exit 1
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  else
    command -v sudo >/dev/null || die "'$*' needs root, and sudo is missing." "su -c '$*'"
    sudo "$@"
  fi
}

# has_docker: whether Docker is installed here. An engine that does not answer may hold what is to be removed: the script ends.
has_docker() {
  local reason
  command -v docker >/dev/null || return 1
  reason=$(docker version 2>&1 >/dev/null) ||
    die "The Docker engine does not answer: ${reason:-no reason given}. It may hold lab VMs and images, so nothing was removed." \
      "scripts/setup-host   # starts the engine; then run this again"
}

os_release() { (. /etc/os-release 2>/dev/null && printf '%s %s' "${ID:-unknown}" "${VERSION_ID:-}") || printf unknown; }

# install PACKAGE...: Debian packages, without a question; waits for another apt to finish
install_packages() {
  local by_hand="apt-get update && apt-get install $*"
  command -v apt-get >/dev/null || die "This machine has no apt-get, so $* cannot be installed from here." "install by other means: $*"
  say "Installing Debian packages: $*"
  local apt=(env DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=a apt-get -qq -o DPkg::Lock::Timeout=300)
  as_root "${apt[@]}" update >&2 || say "apt-get update failed; trying with the existing package lists."
  as_root "${apt[@]}" install --no-install-recommends "$@" >/dev/null ||
    die "The Debian packages $* could not be installed." "$by_hand"
}

# prints the CAs that image builds trust: this machine's, and $CBM_EXTRA_CA where TLS is inspected with one that it does not know
ca_bundle() {
  local bundle=/etc/ssl/certs/ca-certificates.crt extra=${CBM_EXTRA_CA:-}
  [ -z "$extra" ] || [ -r "$extra" ] || die "CBM_EXTRA_CA=$extra: there is no such file."
  if [ -r "$bundle" ]; then cat "$bundle"; fi
  if [ -n "$extra" ]; then cat "$extra"; fi
}
