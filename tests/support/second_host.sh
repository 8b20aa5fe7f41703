#!/usr/bin/env bash
# The inside of the tests' second host, in network, mount and process namespaces of its own: dockerd and sshd, until
# either ends. usage: second_host.sh FOLDER, which holds sshd_config and keeps the engine's images.
set -euo pipefail
folder=$1
mount --make-rprivate /
mount -t tmpfs tmpfs /run # its own /var/run/docker.sock
mkdir -p /run/sshd "$folder/docker"
ip link set lo up
dockerd --data-root "$folder/docker" --exec-root /run/docker --pidfile /run/docker.pid --iptables=false --bridge=none \
    >"$folder/dockerd.log" 2>&1 &
for config in "$folder"/sshd_config*; do
    "$(command -v sshd)" -D -e -f "$config" >"$folder/sshd.log" 2>&1 &
done
wait -n
