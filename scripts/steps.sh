# shellcheck shell=bash
# Steps of a task: number, what else is running, what it cost; sourced by run.
# $steps holds total, started, number, `running.N` for each step at work and, in done, a line for each that ended: title, seconds,
# CPU seconds of its processes.

steps=.lab/steps/$$

# begin_steps [COUNT]: what comes are the steps of a task, so many where that is known
begin_steps() {
  local old
  for old in .lab/steps/*; do
    if ! kill -s 0 "${old##*/}" 2>/dev/null; then rm -rf "$old"; fi
  done
  rm -rf "$steps"
  mkdir -p "$steps"
  printf '%s' "${1:-}" > "$steps/total"
  date +%s > "$steps/started"
  : > "$steps/done"
}

# step TITLE COMMAND...: heading, command, time; the first failure ends the task and is named
step() {
  local title=$1 start=$SECONDS shell=$BASHPID number before
  shift
  number=$(next_number)
  printf '\n=== %s%s\n' "$title" "$(place_of "$number")"
  echo "$title" > "$steps/running.$number"
  before=$(cpu_seconds "$shell")
  "$@" || {
    rm -f "$steps/running.$number"
    die "Failed after $((SECONDS - start)) s: $title ($*)"
  }
  rm -f "$steps/running.$number"
  printf '%s\t%s\t%s\n' "$title" "$((SECONDS - start))" "$(($(cpu_seconds "$shell") - before))" >> "$steps/done"
  printf '=== %s: %s s\n' "$title" "$((SECONDS - start))"
}

# count_steps FUNCTION...: how many steps they have; none is run
# shellcheck disable=SC2317 # the functions call what is defined here
count_steps() (
  step() { echo; }
  side_by_side() {
    local command=()
    shift
    while [ $# -gt 0 ]; do
      if [ "$1" = + ]; then
        "${command[@]}"
        command=()
        # and the name of the next
        shift 2
      else
        command+=("$1")
        shift
      fi
    done
    "${command[@]}"
  }
  for function; do "$function"; done | wc -l
)

# lanes share the numbers: in the order in which steps begin
next_number() {
  (
    flock 9
    number=$(($(cat "$steps/number" 2>/dev/null || echo 0) + 1))
    echo "$number" | tee "$steps/number"
  ) 9> "$steps/lock"
}

# ` (step 3 of 15, 4 min so far; also running: pytest)`, where the number of steps is known
place_of() {
  local running
  [ -s "$steps/total" ] || return 0
  running=$(cat "$steps"/running.* 2>/dev/null | paste -sd, | sed 's/,/, /g' || true)
  printf ' (step %s of %s, %s min so far%s)' "$1" "$(cat "$steps/total")" "$((($(date +%s) - $(cat "$steps/started")) / 60))" \
    "${running:+; also running: $running}"
}

# user and system time of all that a shell has started and waited for
cpu_seconds() { awk -v hertz="$(getconf CLK_TCK)" '{ print int(($16 + $17) / hertz) }' "/proc/$1/stat"; }
