#!/bin/sh
# Process 1 of a container made of namespaces: installs lb as README.md says, locks the host away, becomes COMMAND.
# Usage: systemd-init.sh PROJECT VENV SCRATCH COMMAND [ARGUMENT ...], in mount, PID and cgroup namespaces of its own.
# SCRATCH/etc: what is to be added to /etc. SCRATCH/units: the only units besides lb's that there are.
#
# An init system empties /tmp, sets sysctls and makes devices. So nothing of the host can be written here: every mount
# that is there is read-only, and the folders that have to be written to are tmpfs. Whatever of this fails ends it.
set -eu
project=$1 venv=$2 scratch=$3
shift 3

awk '{ print $5 }' /proc/self/mountinfo | while read -r escaped; do
	point=$(printf '%b' "$escaped")
	# The folder of some testbed's mount may be gone.
	[ ! -e "$point" ] || mount -o remount,bind,ro "$point"
done

mount -t tmpfs -o mode=755 tmpfs "$scratch/room"
cd "$scratch/room"
cp -a /etc etc
mkdir -p etc/lb opt/lb/bin opt/lb/src opt/lb/venv units dev
cp -r "$scratch/etc/." etc/
cp -r "$scratch/units/." "$project"/lb/packaging/*.service "$project"/lb/packaging/*.mount units/
getent group lb >/dev/null || echo 'lb:x:64999:' >>etc/group

# Where the unit looks for it. A clone may lie where hardened services may not look.
mount --bind "$project" opt/lb/src
mount --bind "$venv" opt/lb/venv
for name in lbd=lb.daemon.main lbctl=lb.cli.main; do
	printf '#!/bin/sh\nPYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/opt/lb/src exec /opt/lb/venv/bin/python -m %s "$@"\n' \
		"${name#*=}" >"opt/lb/bin/${name%=*}"
	chmod +x "opt/lb/bin/${name%=*}"
done
for device in null zero full random urandom tty; do
	touch "dev/$device"
	mount --bind "/dev/$device" "dev/$device"
done
mkdir opt/lb/units dev/pts dev/shm
ln -s pts/ptmx dev/ptmx
mount --bind units opt/lb/units

mount --bind etc /etc
mount --rbind opt /opt
mount --rbind dev /dev
mount -t devpts -o ptmxmode=0666 devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
for folder in /tmp /var /run; do
	mount -t tmpfs -o mode=755 tmpfs "$folder"
done
mkdir -p /var/lib /var/log /var/tmp
cd /
mount -t proc proc /proc
mount --bind /proc/sys /proc/sys
mount -t sysfs -o ro sysfs /sys
mount -t tmpfs tmpfs /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -o remount,bind,ro /proc/sys

for folder in /tmp /var /run /etc /dev /opt; do
	[ "$(stat -f -c %T "$folder")" = tmpfs ]
done
for folder in / /proc/sys /sys /usr /opt/lb/src; do
	[ ! -w "$folder" ]
done
exec env -i container=lb SYSTEMD_UNIT_PATH=/opt/lb/units PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"
