#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The guest's init: says "@ready", then runs one command per line of the serial console and answers "@exit CODE".
/bin/busybox --install -s /bin
export PATH=/bin:/sbin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
exec </dev/ttyS0 >/dev/ttyS0 2>&1
stty raw -echo
modprobe -a virtio_pci virtio_net
ip link set lo up
echo "@ready"
while read -r command; do
	sh -c "$command" </dev/null
	echo "@exit $?"
done
