# shellcheck shell=bash
# Two things at the same time, without mixing what they print; sourced by ./run, after lib.sh.

# beside COMMAND...: runs it at the same time as what follows, up to `joined`; what it prints is kept for then
beside() {
  mkdir -p .lab
  beside_log=$PWD/.lab/beside.log
  printf '\n=== At the same time, shown when it has ended (tail -f %s): %s\n' "$beside_log" "$*"
  # a process group of its own, so that all of it ends with us
  set -m
  "$@" > "$beside_log" 2>&1 < /dev/null &
  set +m
  beside_group=$!
  trap end_beside EXIT
}

end_beside() {
  kill -- "-$beside_group" 2>/dev/null || return 0
  wait "$beside_group" 2>/dev/null || true
  say "What ran at the same time was ended: $beside_log"
}

joined() {
  local result=0
  wait "$beside_group" || result=$?
  trap - EXIT
  printf '\n=== What ran at the same time\n'
  cat "$beside_log"
  [ "$result" -eq 0 ] || die "What ran at the same time has failed; its last lines are above."
}
