// Sets of functions that people ask for again and again. Globs of source files (from the top of the kernel's tree) and of function names; what a kernel version does not have matches nothing
// and does no harm. Checked with Linux 6.1.
using System.Collections.Immutable;

namespace KTrace.Debugger.Tracepoints;

/// <summary>A set with a name, <c>@irq</c>.</summary>
/// <param name="Name">Without the @.</param>
/// <param name="Meaning">For people, in a line.</param>
/// <param name="Members">Places as -b takes them: <c>@FILES</c> or names.</param>
public sealed record ReadySet(string Name, string Meaning, ImmutableArray<string> Members)
{
    /// <summary>The functions in the kernel's initcall tables belong to it.</summary>
    public bool HasInitcalls { get; init; }
}

/// <summary>The sets that KTrace knows.</summary>
public static class ReadySets
{
    public static ImmutableArray<ReadySet> All { get; } =
    [
        // How an interrupt gets from a driver's request to a vector of a CPU, and how it is handled: the generic layer, its domains and chips, MSI, and the vectors of x86.
        new("irq", "interrupts: the generic layer, MSI, I/O APIC and vectors",
            ["@kernel/irq/*", "@drivers/pci/msi.c", "@drivers/pci/msi/*", "@drivers/base/platform-msi.c", "@arch/x86/kernel/apic/*", "@arch/x86/kernel/irq.c", "@arch/x86/kernel/irqinit.c", "@arch/x86/kernel/i8259.c", "@arch/x86/pci/irq.c"]),

        // Finding and setting up PCI devices: config space, bridges, resources, capabilities, power, drivers that are probed. Not the drivers of host controllers that no PC has.
        new("pci", "PCI: enumeration, resources, capabilities, drivers that are probed",
            ["@drivers/pci/*.c", "@arch/x86/pci/*"]),

        // Every function that the kernel calls in the order of its initcall levels (include/linux/init.h), from early_initcall to late_initcall, and the consoles'.
        new("initcalls", "the functions of the initcall tables: every part of the kernel that sets itself up", []) { HasInitcalls = true },

        // What happens when an interface is brought up (ip link set up, ifconfig up): from the system call to the driver's ndo_open and what that asks of the network core.
        new("net-open", "bringing a network interface up: from ioctl and netlink to the driver's ndo_open",
            [
                "sock_ioctl", "sock_do_ioctl", "inet_ioctl", "inet6_ioctl", "devinet_ioctl", "dev_ioctl", "dev_ifsioc", "rtnl_newlink", "__rtnl_newlink", "rtnl_setlink", "do_setlink",
                "dev_open", "__dev_open", "dev_close*", "__dev_close*", "dev_change_flags", "__dev_change_flags", "__dev_notify_flags", "dev_set_rx_mode", "__dev_set_rx_mode", "dev_activate", "dev_deactivate*",
                "call_netdevice_notifiers*", "napi_enable", "napi_disable", "netif_napi_add*", "netif_set_real_num_*", "netif_tx_wake_queue", "netif_carrier_*", "netif_device_*", "linkwatch_*",
                "netdev_state_change", "addrconf_notify", "inetdev_event", "fib_inetaddr_event", "fib_netdev_event", "request_threaded_irq", "free_irq", "pci_enable_msi*", "pci_alloc_irq_vectors*", "dev_pm_*_runtime*",
            ]),
    ];

    public static ReadySet? Find(string name) => All.FirstOrDefault(s => s.Name == name);
}
