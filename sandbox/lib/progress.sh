# Progress lines for the shell steps of the bootstrap; sourced, not run.
# shellcheck shell=bash

# say TEXT: one line with the seconds since the start.
say() { printf '[%4ds] %s\n' "$SECONDS" "$*"; }

# die TEXT: one line on stderr, and the end.
die() {
  printf 'steward: %s\n' "$*" >&2
  exit 1
}

# step NAME COMMAND...: run a command with its output in a log; says how long it
# took, and names the log when it fails.
step() {
  local name=$1 log started=$SECONDS
  shift
  log="$LOG_DIR/$(printf '%s' "$name" | tr -c 'a-z0-9\n' '-').log"
  mkdir -p "$LOG_DIR"
  say "$name ..."
  if ! "$@" >"$log" 2>&1; then
    tail -n 5 "$log" >&2
    die "$name failed; the whole output is in $log"
  fi
  say "$name: done in $((SECONDS - started)) s"
}
