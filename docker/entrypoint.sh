#!/bin/sh
# The command `dlperf` of the image. `mlflow run` hands over a whole command, python entrypoints/NAME.py; anything else
# is what follows `dlperf`: the name of an entry point and its parameters.
set -eu

if [ "${1:-}" = python ]; then
    exec "$@"
fi

case " $* " in
    "  " | " -"* | *" --help "*) ;; # nothing is run, so nothing is stored
    " runs "*--tracking_uri* | " archive "*--tracking_uri*) ;; # the store is named
    *)
        if [ -z "${MLFLOW_TRACKING_URI:-}" ]; then
            for store in /runs "${TMPDIR:-/tmp}"; do
                [ ! -w "$store" ] || break
            done
            if [ ! -w "$store" ]; then
                echo "dlperf: no folder for the runs: neither /runs nor $store can be written to;" \
                    "set MLFLOW_TRACKING_URI, or mount a volume on /runs" >&2
                exit 3
            fi
            export MLFLOW_TRACKING_URI="sqlite:///$store/mlflow.db"
            # dlperf says it, once the store is there: input that cannot be used comes before.
            export DLPERF_STORE_NOTE="MLFLOW_TRACKING_URI is not set: the runs go to $store/mlflow.db in this container \
(with -v VOLUME:/runs they outlive it)"
            cd "$store" # MLflow puts the artifacts of such a store into the working directory
        fi
        ;;
esac
exec python -m dlperf "$@"
