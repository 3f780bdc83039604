# SPDX-License-Identifier: GPL-2.0
#
# Runs the kernel as dom0, a PV guest, of the Xen hypervisor.

from ..qemu_config import QemuArchParams

QEMU_ARCH = QemuArchParams(linux_arch='x86_64',
			   kconfig='''
CONFIG_ACPI=y
CONFIG_PCI=y
CONFIG_HYPERVISOR_GUEST=y
CONFIG_PARAVIRT=y
CONFIG_XEN=y
CONFIG_XEN_PV=y
CONFIG_XEN_DOM0=y
CONFIG_XEN_PV_DOM0=y
CONFIG_HVC_XEN=y''',
			   qemu_arch='x86_64',
			   kernel_path='arch/x86/boot/bzImage',
			   # Xen's console, which goes to the serial port.
			   kernel_command_line='console=hvc0',
			   # Not qboot, under which Xen does not boot.
			   extra_qemu_params=[],
			   # Where Fedora, openSUSE and Xen's own "make install" put
			   # it. Debian has xen-<version>-amd64.gz there.
			   hypervisor='/boot/xen.gz',
			   hypervisor_command_line='console=com1 com1=115200,8n1')
