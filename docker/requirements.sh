#!/bin/sh
# Writes conda.yaml's pins (standard input) as pip requirements; the variant, cpu or gpu, swaps TensorFlow's line only.
set -eu

case ${1:-} in
    cpu) tensorflow='tensorflow-cpu' ;;
    gpu) tensorflow='tensorflow[and-cuda]' ;;
    *) echo "VARIANT=${1:-}: must be cpu or gpu" >&2; exit 2 ;;
esac
sed -n 's/^ *- *\([A-Za-z0-9._-]*==[^ #]*\).*/\1/p' | sed "s/^tensorflow==/$tensorflow==/"
