# shellcheck shell=bash
# Work side by side; sourced by run.

# side_by_side NAME COMMAND [+ NAME COMMAND]...: the commands at once, each line of theirs begun with the name. All come to their
# end, so that one run tells all that is wrong; of those that failed the last lines are shown once more, and the whole is in .lab/log.
side_by_side() {
  local name names=() lanes=() failed=() index
  mkdir -p .lab/log
  # each in a process group of its own, which an interrupt then reaches as a whole
  set -m
  while [ $# -gt 0 ]; do
    name=$1
    shift
    local command=()
    while [ $# -gt 0 ] && [ "$1" != + ]; do
      command+=("$1")
      shift
    done
    [ $# -eq 0 ] || shift
    { "${command[@]}" 2>&1 < /dev/null | tee ".lab/log/$name" | sed --unbuffered "s/^/$(printf '%-8s' "$name")| /"; } &
    names+=("$name") lanes+=($!)
  done
  set +m
  # shellcheck disable=SC2064 # the lanes of now
  trap "kill -INT ${lanes[*]/#/-} 2>/dev/null; wait; exit 130" INT TERM
  for index in "${!lanes[@]}"; do
    wait "${lanes[index]}" || failed+=("${names[index]}")
  done
  trap - INT TERM
  [ ${#failed[@]} -gt 0 ] || return 0
  for name in "${failed[@]}"; do
    printf '\n=== What %s said last (all of it: .lab/log/%s)\n' "$name" "$name"
    tail -n 80 ".lab/log/$name"
  done
  die "Failed: ${failed[*]}."
}
