using KTrace.Debugger.NonStop.Ring;
using KTrace.Debugger.NonStop.Trampolines;
using KTrace.Tests.Cli;
using Xunit.Abstractions;

namespace KTrace.Tests.Debugger.NonStop.Trampolines;

/// <summary>Trampolines in real guests.</summary>
[Collection(nameof(NonStopBootsCollection))]
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
        Assert.InRange(armed, 2000, 3000);
        Assert.Equal(0, count.Unknown);
        Assert.Contains("Power down", guest.Console, StringComparison.Ordinal);
    }

    /// <summary>Task, hard and soft interrupt, NMI: what a stop at the same entry tells is the truth.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(4)]
    public async Task Records_tell_what_a_stop_at_the_same_entry_tells_and_nothing_is_changed(int cpus)
    {
        string[] functions = ["vfs_read", "hrtimer_interrupt", "__hrtimer_run_queues", "run_timer_softirq", "rcu_core", "scheduler_tick", "unknown_nmi_error"];
        await using var guest = await TracedGuest.BootAsync(TracedGuest.Stock, "while true; do read line < /proc/uptime; done", cpus);
        await guest.ArmAsync(functions.Contains, guest.Place(new TrampolineProgram(0, 40 << 10)));
        await guest.RunToAsync(guest.AddressOf("kernel_init_freeable"));
        var comparison = new StopComparison(guest);
        var seen = new Dictionary<string, int>();
        var windows = new HashSet<int>();
        var all = functions.ToDictionary(guest.AddressOf, name => guest.AddressOf(name) + 5);
        for (var stops = 0; stops < 40; stops++)
        {
            Note(await comparison.NextAsync(all));
        }

        // Everything by itself, so that what is frequent does not hide what is rare.
        foreach (var name in functions[..^1])
        {
            var only = all.Where(s => s.Key == guest.AddressOf(name)).ToDictionary();
            for (var stops = 0; stops < 8; stops++)
            {
                Note(await comparison.NextAsync(only));
            }
        }

        for (var stops = 0; stops < 5; stops++)
        {
            Note(await comparison.NextAsync(all.Where(s => s.Key == guest.AddressOf("unknown_nmi_error")).ToDictionary(), async () =>
            {
                await guest.Client.MonitorAsync("nmi");
                await guest.Client.ContinueAsync();
            }));
        }

        output.WriteLine(string.Join(" ", seen) + " windows " + string.Join(" ", windows));
        Assert.All(functions, name => Assert.True(seen.GetValueOrDefault(name) >= 5, name));
        Assert.Superset(new HashSet<int> { 1, 2 }, windows);

        void Note((string Function, int Windows)? hit)
        {
            seen[hit!.Value.Function] = seen.GetValueOrDefault(hit.Value.Function) + 1;
            windows.Add(hit.Value.Windows);
        }
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

        }
    }
}
