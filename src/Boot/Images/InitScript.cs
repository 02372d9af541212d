// /init, the guest's first program: a script for busybox's ash. It has to work on kernels with drivers built in or as modules,
// with or without devtmpfs, and must never hang on a network that does not answer. Its standard streams are /dev/console, which
// the kernel opens from the archive's own node before anything is mounted (init/main.c, console_on_rootfs).
using System.Collections.Immutable;
using System.Text;

namespace KTrace.Boot.Images;

/// <summary>Writes /init and what it calls.</summary>
public static class InitScript
{
    /// <summary>Where udhcpc's script lies in the guest: busybox's built-in path is the build's own, so it is always
    /// named.</summary>
    internal const string DhcpScriptPath = "etc/udhcpc.script";

    /// <summary>The steps that a description may name, each with what it does.</summary>
    public static ImmutableArray<(string Name, string Meaning)> Steps { get; } =
    [
        ("network", "bring eth0 up and ask DHCP for its address (at most about 15 seconds)"),
        ("interrupts", "print /proc/interrupts"),
        ("modules", "print /proc/modules"),
        ("shell", "an interactive shell on the console; goes on when it ends"),
        ("poweroff", "power the machine off"),
        (RunPrefix + "COMMAND", "a line for the guest's shell, such as run rmmod e1000e"),
    ];

    private const string RunPrefix = "run ";

    /// <summary>Whether a description may name this step.</summary>
    public static bool IsStep(string step) =>
        step.StartsWith(RunPrefix, StringComparison.Ordinal) ? !step.Any(char.IsControl) : Steps.Any(known => known.Name == step);

    /// <summary>busybox's udhcpc configures nothing by itself; it calls this with the lease in the environment
    /// (networking/udhcp/dhcpc.c).</summary>
    internal const string DhcpScript = """
        #!/bin/sh
        case "$1" in
        bound|renew)
            ifconfig "$interface" "$ip" netmask "${subnet:-255.255.255.0}" ${broadcast:+broadcast "$broadcast"}
            for gateway in $router; do route add default gw "$gateway" dev "$interface" && break; done
            : > /etc/resolv.conf
            for server in $dns; do echo "nameserver $server" >> /etc/resolv.conf; done
            echo "init: $interface has $ip"
            ;;
        esac
        exit 0

        """;

    /// <param name="modules">File names below /lib/modules in the guest, in the order to load them.</param>
    /// <exception cref="BootException">There is no such step.</exception>
    internal static string Generate(IEnumerable<string> modules, IEnumerable<string> steps)
    {
        var script = new StringBuilder("""
            #!/bin/sh
            export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/ TERM="${TERM:-linux}"
            mount -t proc proc /proc
            mount -t sysfs sysfs /sys
            mount -t devtmpfs devtmpfs /dev 2>/dev/null || mdev -s
            mkdir -p /dev/pts
            mount -t devpts devpts /dev/pts 2>/dev/null
            # The kernel's own messages stay on the console; what init says comes between them.

            """);
        foreach (var module in modules)
        {
            script.Append("insmod /lib/modules/").Append(module).Append(" || echo \"init: ").Append(module)
                .Append(" could not be loaded\"\n");
        }

        foreach (var step in steps)
        {
            script.Append(Text(step));
        }

        // An init that ends makes the kernel panic; a machine that nobody powers off stays for whoever looks at it.
        return script.Append("while :; do sleep 3600; done\n").ToString();
    }

    private static string Text(string step) => step switch
    {
        "network" => """
            ifconfig lo up 2>/dev/null
            tries=0
            while [ ! -e /sys/class/net/eth0 ] && [ $tries -lt 50 ]; do tries=$((tries + 1)); usleep 100000 || sleep 1; done
            if [ -e /sys/class/net/eth0 ]; then
                ifconfig eth0 up
                udhcpc -i eth0 -n -q -t 5 -T 3 -s /etc/udhcpc.script || echo "init: eth0 has no address: no DHCP server answered"
            else
                echo "init: there is no eth0"
            fi

            """,
        "interrupts" => "cat /proc/interrupts\n",
        "modules" => "cat /proc/modules\n",
        "shell" => "echo \"init: a shell; exit goes on\"\nsetsid cttyhack sh\n",
        // ACPI first; a kernel without it halts, and then -no-reboot makes a reset end the machine as well.
        "poweroff" => "sync\npoweroff -f\nsleep 3\nreboot -f\n",
        _ when IsStep(step) => step[RunPrefix.Length..] + "\n",
        _ => throw new BootException(
            $"init has no step \"{step}\"",
            "steps: " + string.Join(", ", Steps.Select(known => known.Name))
                + (NearNames.Nearest(step, Steps.Select(known => known.Name)) is { } near ? $"; did you mean {near}?" : "")),
    };
}
