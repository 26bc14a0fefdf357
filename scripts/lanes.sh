# shellcheck shell=bash
# Work side by side; sourced by run.

# side_by_side NAME COMMAND [+ NAME COMMAND]...: the commands at once, each line of theirs begun with the name. One that fails does
# not end the others; of those that failed the last lines are shown once more at the end, and the whole is in .lab/log.
side_by_side() {
  local name index failed=()
  lane_names=() lanes=()
  mkdir -p .lab/log
  trap 'end_lanes 130 INT TERM KILL' INT
  trap 'end_lanes 143 TERM KILL' TERM
  trap 'end_lanes 129 TERM KILL' HUP
  while [ $# -gt 0 ]; do
    local command=()
    name=$1
    shift
    while [ $# -gt 0 ] && [ "$1" != + ]; do
      command+=("$1")
      shift
    done
    [ $# -eq 0 ] || shift
    start_lane "$name" "${command[@]}"
  done
  for index in "${!lanes[@]}"; do
    wait "${lanes[index]}" || failed+=("${lane_names[index]}")
  done
  trap - INT TERM HUP
  [ ${#failed[@]} -gt 0 ] || return 0
  for name in "${failed[@]}"; do
    printf '\n=== What %s said last (all of it: .lab/log/%s)\n' "$name" "$name"
    tail -n 80 ".lab/log/$name"
  done
  die "Failed: ${failed[*]}."
}

# In a process group of its own, which a signal reaches as a whole. What writes its lines outlives that, to the last of them.
start_lane() {
  local name=$1
  shift
  set -m
  { "$@" 2>&1 < /dev/null | (trap '' INT TERM HUP && exec tee ".lab/log/$name") |
    (trap '' INT TERM HUP && exec sed --unbuffered "s/^/$(printf '%-8s' "$name")| /"); } &
  set +m
  lane_names+=("$name") lanes+=($!)
}

# end_lanes STATUS SIGNAL...: ends every lane, the next signal where one does not end within half a minute, or is told so again
end_lanes() {
  local status=$1 signal second impatient
  shift
  for signal; do
    impatient=
    trap 'impatient=1' INT TERM HUP
    kill -s "$signal" -- "${lanes[@]/#/-}" 2>/dev/null || break
    for ((second = 0; second < 30; second++)); do
      kill -s 0 -- "${lanes[@]/#/-}" 2>/dev/null || exit "$status"
      [ -z "$impatient" ] || break
      sleep 1 || true
    done
  done
  exit "$status"
}
