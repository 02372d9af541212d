using System.Globalization;
using System.Text.RegularExpressions;
using KTrace.Debugger.Interrupts;
using KTrace.Rsp.Commands;
using KTrace.Tests.Cli;
using KTrace.Tests.Support;
using KTrace.Tracing.Interrupts;
using Xunit.Abstractions;

namespace KTrace.Tests.Debugger.Interrupts;

/// <summary>The kernel's irq descriptors, walked from outside, against what the same kernel says of them in /proc and /sys, and against the hardware that it has programmed.</summary>
[Collection(nameof(BootsCollection))]
public sealed partial class IrqSnapshotTests(ITestOutputHelper output)
{
    private const string Script = """
        echo N > /sys/module/printk/parameters/ignore_loglevel
        echo 1 > /proc/sys/kernel/printk
        ifconfig eth0 up
        echo 2 > /proc/irq/$(grep eth0-rx-0 /proc/interrupts | cut -d: -f1 | tr -d ' ')/smp_affinity
        sleep 2
        cd /sys/kernel/irq
        for i in *; do echo "irq $i|$(cat $i/chip_name)|$(cat $i/hwirq)|$(cat $i/type)|$(cat $i/name)|$(cat $i/actions)|$(cat $i/per_cpu_count)|$(cat /proc/irq/$i/smp_affinity_list)|$(cat /proc/irq/$i/effective_affinity_list)"; done
        for i in /sys/class/net/eth0/device/msi_irqs/*; do echo "msi ${i##*/}"; done
        echo "bar $(sed -n 4p /sys/class/net/eth0/device/resource)"
        echo all-is-said
        stty -echo < /dev/console; sleep 1
        cat /proc/version
        """;

    [Fact]
    public Task Descriptors_are_those_of_proc_and_sys() => DescriptorsAreThoseOfProcAndSysAsync("stock");

    [SkippableTheory]
    [Trait("Group", "Long")]
    [InlineData("other")]
    [InlineData("tree:fp64")]
    [InlineData("tree:fp32")]
    public Task Descriptors_are_those_of_proc_and_sys_on_other_kernels(string kernel) => DescriptorsAreThoseOfProcAndSysAsync(kernel);

    private async Task DescriptorsAreThoseOfProcAndSysAsync(string kernel)
    {
        var booted = OracleKernels.Open(kernel);
        await using var guest = await OracleGuest.BootAsync(booted, Script, cpus: 4, modules: booted.Modules is null ? null : ["e1000e"]);
        Assert.Empty((await new IrqSnapshot(guest.Target.Machine, guest.Map).ReadAsync()).SelectMany(i => i.Actions));
        var isDone = false;
        await guest.RunAsync(
            ["version_proc_show"],
            async capture =>
            {
                await CompareAsync(guest, hasNic: booted.Modules is not null);
                isDone = true;
                return false;
            },
            TimeSpan.FromMinutes(8));
        Assert.True(isDone, guest.Console);
    }

    private async Task CompareAsync(OracleGuest guest, bool hasNic)
    {
        var watch = System.Diagnostics.Stopwatch.StartNew();
        var irqs = (await new IrqSnapshot(guest.Target.Machine, guest.Map).ReadAsync()).ToDictionary(i => i.Irq);
        output.WriteLine($"{irqs.Count} descriptors in {watch.Elapsed.TotalMilliseconds} ms");
        // stty has waited until the serial port has sent everything; it may still be on its way to us.
        for (var i = 0; i < 100 && !guest.Console.Contains("all-is-said", StringComparison.Ordinal); i++)
        {
            await Task.Delay(100);
        }

        var text = guest.Console.ReplaceLineEndings("\n");

        var lines = SysLine().Matches(text);
        Assert.True(lines.Count > 15, text);
        Assert.Equal(lines.Select(l => int.Parse(l.Groups[1].ValueSpan, CultureInfo.InvariantCulture)).Order(), irqs.Keys.Order());
        foreach (Match line in lines)
        {
            var irq = irqs[int.Parse(line.Groups[1].ValueSpan, CultureInfo.InvariantCulture)];
            var said = line.Groups.Values.Skip(2).Select(g => g.Value).ToArray();
            string[] walked =
            [
                irq.Chip ?? "", irq.Levels is [{ Domain: not null }, ..] ? irq.HwIrq!.Value.ToString(CultureInfo.InvariantCulture) : "", irq.IsLevel == true ? "level" : "edge", irq.Name ?? "",
                string.Join(',', irq.Actions.Select(a => a.Name)), string.Join(',', irq.Counts), irq.Affinity ?? "", irq.EffectiveAffinity ?? "",
            ];
            if (said[6].Length == 0)
            {
                // One without a chip of its own is not in /proc/irq.
                (walked[6], walked[7]) = ("", "");
            }

            // What an interrupt has counted since the guest has read it is more, and not much.
            var (counted, then) = (walked[5], said[5]);
            (walked[5], said[5]) = ("", "");
            Assert.Equal(said, walked);
            Assert.All(counted.Split(',').Zip(then.Split(',')), pair => Assert.InRange(long.Parse(pair.First, CultureInfo.InvariantCulture) - long.Parse(pair.Second, CultureInfo.InvariantCulture), 0, 2000));
        }

        await AssertControllersAsync(guest, irqs);
        if (!hasNic)
        {
            return;
        }

        var rx = Assert.Single(irqs.Values, i => i.Actions.Any(a => a.Name == "eth0-rx-0"));
        Assert.Equal("1", rx.Affinity);
        Assert.Equal("e1000_intr_msix_rx", rx.Actions[0].Handler);
        Assert.Equal("handle_edge_irq", rx.Flow);
        Assert.Equal(("VECTOR", "APIC"), (rx.Levels[^1].Domain, rx.Levels[^1].Chip));
        await AssertProgrammedAsync(guest, text, irqs);
    }

    /// <summary>The device's MSI-X table holds what the kernel believes that it has written there.</summary>
    private static async Task AssertProgrammedAsync(OracleGuest guest, string text, Dictionary<int, IrqDescription> irqs)
    {
        // BAR 3 of the 82574L is its MSI-X table (datasheet, 9.3.11): 16 bytes an entry.
        var bar = ulong.Parse(Regex.Match(text, @"bar 0x([0-9a-f]+)").Groups[1].ValueSpan, NumberStyles.HexNumber, CultureInfo.InvariantCulture);
        await guest.Client.SetPhysicalMemoryModeAsync(true);
        var table = new byte[16 * 5];
        Assert.True((await guest.Client.ReadMemoryAsync(bar, table)).IsComplete);
        await guest.Client.SetPhysicalMemoryModeAsync(false);
        var written = table.Chunk(16).Select(e => new MsiMessage(BitConverter.ToUInt64(e, 0), BitConverter.ToUInt32(e, 8))).ToList();
        var messages = MsiLine().Matches(text).Select(m => irqs[int.Parse(m.Groups[1].ValueSpan, CultureInfo.InvariantCulture)]).ToList();
        Assert.Equal(3, messages.Count(i => i.Actions.Length > 0));
        foreach (var irq in messages.Where(i => i.Actions.Length > 0))
        {
            Assert.Contains(irq.Msi!.Value, written);
            // The message's data begin with the vector, its address has in bits 19:12 the CPU's APIC id,
            // or with bit 2 a mask of logical ids (Intel SDM volume 3, 11.11).
            Assert.Equal(irq.Vector, (int)(irq.Msi.Value.Data & 0xff));
            Assert.Equal((irq.Msi.Value.Address & 4) != 0 ? 1 << irq.Cpu : irq.Cpu, (int)(irq.Msi.Value.Address >> 12) & 0xff);
            Assert.Equal(irq.Cpu!.Value.ToString(CultureInfo.InvariantCulture), irq.EffectiveAffinity);
        }
    }

    /// <summary>The machine's controllers, too.</summary>
    private static async Task AssertControllersAsync(OracleGuest guest, Dictionary<int, IrqDescription> irqs)
    {
        var controllers = await InterruptControllers.ReadAsync(guest.Target.Machine);
        Assert.Equal([0, 1, 2, 3], controllers.LocalApics.Select(a => a.Cpu));
        Assert.All(controllers.LocalApics, apic =>
        {
            Assert.True(apic.IsEnabled);
            Assert.Equal(6, apic.Vectors.Length);
            Assert.Empty(apic.Unread);
            Assert.NotNull(apic.ProcessorPriority);
            Assert.NotNull(apic.Timer);
        });
        var ioApic = Assert.Single(controllers.IoApics);
        Assert.Equal(24, ioApic.Entries.Length);
        Assert.Equal([0, 1], controllers.Pics.Select(p => p.Index));
        // Linux masks all lines (the timer's stays open where the I/O APIC's did not tick in time) and puts the vectors at 0x30 (arch/x86/include/asm/irq_vectors.h).
        Assert.All(controllers.Pics, p => Assert.Equal((0xff, 0x30 + (8 * p.Index)), (p.Mask | (p.Index == 0 ? 1 : 0), p.VectorBase)));
        var checkedPins = 0;
        foreach (var irq in irqs.Values.Where(i => i.Chip == "IO-APIC" && i.Actions.Length > 0 && (i.State & IrqState.Masked) == 0))
        {
            var entry = ioApic.Entries.Single(e => (ulong)e.Pin == irq.HwIrq);
            Assert.Equal((irq.Vector, irq.IsLevel, false), (entry.Vector, entry.IsLevel, entry.IsMasked));
            checkedPins++;
        }

        Assert.True(checkedPins > 2);
    }

    [GeneratedRegex(@"^irq (\d+)\|(.*)\|(.*)\|(.*)\|(.*)\|(.*)\|(.*)\|(.*)\|(.*)$", RegexOptions.Multiline)]
    private static partial Regex SysLine();

    [GeneratedRegex(@"^msi (\d+)$", RegexOptions.Multiline)]
    private static partial Regex MsiLine();
}
