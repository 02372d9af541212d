using System.Text;
using KTrace.Debugger.NonStop.Ring;
using KTrace.Debugger.NonStop.Trampolines;
using KTrace.Tests.Cli;
using Xunit.Abstractions;

namespace KTrace.Tests.Debugger.NonStop.Trampolines;

/// <summary>Trampolines in real guests.</summary>
[Collection(nameof(BootsCollection))]
public sealed class EntryTrampolineTests(ITestOutputHelper output)
{
    private static readonly string[] Prefixes = ["irq_", "pci_", "vfs_", "kmem_cache", "alloc_", "__alloc", "device_", "acpi_", "tick_", "hrtimer_", "sched", "do_", "rcu_", "timer", "dev_", "kernfs_", "sysfs_"];

    [Theory]
    [InlineData(1)]
    [InlineData(4)]
    public async Task A_boot_with_two_thousand_traced_functions_goes_as_ever(int cpus)
    {
        await using var guest = await TracedGuest.BootAsync(TracedGuest.Stock, "cat /proc/interrupts; ls -lR /sys/kernel > /dev/null", cpus);
        var armed = await guest.ArmAsync(n => Prefixes.Any(p => n.StartsWith(p, StringComparison.Ordinal)), guest.Place(new TrampolineProgram(0, 2048)), 2062);
        var count = new Counts();
        var seconds = await guest.RunToEndAsync(record => count.Take(guest, record));
        output.WriteLine($"{armed} armed, {count.Records} records, {seconds:0.00} s, waits {guest.Memory.Reader.Waits}, dropped {guest.Memory.Reader.Dropped}");
        output.WriteLine($"windows {string.Join(' ', count.Windows)} cut {count.Cut} unknown sites {count.Unknown} cpus {string.Join(' ', count.Cpus.Order())} no task {count.NoTask}");
        output.WriteLine(string.Join(" ", count.Names.OrderByDescending(n => n.Value).Take(12)));
        output.WriteLine(guest.Console[^Math.Min(guest.Console.Length, 3000)..]);
        Assert.InRange(armed, 2000, 3000);
        Assert.Equal(0, count.Unknown);
        Assert.Contains("Power down", guest.Console, StringComparison.Ordinal);
    }

    private sealed class Counts
    {
        public long Records, Cut, Unknown, NoTask;
        public long[] Windows = new long[4];
        public HashSet<uint> Cpus = [];
        public Dictionary<string, long> Names = [];

        public void Take(TracedGuest guest, in RingRecord record)
        {
            Records++;
            Windows[record.WindowCount]++;
            Cpus.Add(record.Cpu);
            NoTask += record.Task == 0 ? 1 : 0;
            for (var i = 0; i < record.WindowCount; i++)
            {
                record.Window(i, out _, out var isCut);
                Cut += isCut ? 1 : 0;
            }

            if (guest.NameOf(record) is { } name)
            {
                Names[name] = Names.GetValueOrDefault(name) + 1;
            }
            else
            {
                Unknown++;
            }

            _ = Encoding.ASCII;
        }
    }
}
