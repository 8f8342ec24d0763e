#!/bin/bash
# What the operator's native mode uses of the original's entry point: it runs the given command as the user `flink`.
set -e
case "$1" in
  jobmanager | taskmanager)
    program="$1.sh"
    shift
    set -- "${FLINK_HOME}/bin/${program}" start-foreground "$@"
    ;;
esac
if [ "$(id -u)" = 0 ]; then exec gosu flink "$@"; fi
exec "$@"
