using KTrace.Debugger.NonStop.Ring;
using KTrace.Debugger.NonStop.Sites;
using KTrace.Debugger.NonStop.Trampolines;
using KTrace.Debugger.Tracepoints;
using KTrace.Symbols.Kernel;
using KTrace.Tests.Debugger.NonStop.Trampolines;

namespace KTrace.Tests.Debugger.NonStop.Reading;

/// <summary>Records of a real boot with two thousand functions traced, as the ring had them: made once for all tests.</summary>
internal sealed class RecordedBoot : INonStopSites
{
    private static readonly string[] Prefixes = ["irq_", "pci_", "vfs_", "kmem_cache", "alloc_", "__alloc", "device_", "acpi_", "tick_", "hrtimer_", "sched", "do_", "rcu_", "timer", "dev_", "kernfs_", "sysfs_"];
    private static readonly Lazy<Task<RecordedBoot>> Made = new(MakeAsync);

    private readonly Dictionary<ulong, NonStopSite> _sites = [];

    private RecordedBoot(KernelMap map) => Map = map;

    public static Task<RecordedBoot> Instance => Made.Value;

    public KernelMap Map { get; }

    /// <summary>Complete records, in order; every fourth of the boot.</summary>
    public List<byte[]> Records { get; } = [];

    public List<Tracepoint> Tracepoints { get; } = [];

    public NonStopSite? Find(ulong returnAddress, uint program) => program == 0 ? _sites.GetValueOrDefault(returnAddress) : null;

    private static async Task<RecordedBoot> MakeAsync()
    {
        await using var guest = await TracedGuest.BootAsync(TracedGuest.Stock, "cat /proc/interrupts; ls -lR /sys/kernel > /dev/null");
        await guest.ArmAsync(n => Prefixes.Any(p => n.StartsWith(p, StringComparison.Ordinal)), guest.Place(new TrampolineProgram(0, 4096)), 2062);
        var boot = new RecordedBoot(guest.Map);
        var count = 0;
        await guest.RunToEndAsync(record =>
        {
            if (count++ % 4 != 0)
            {
                return;
            }

            boot.Records.Add(record.Bytes.ToArray());
            if (!boot._sites.ContainsKey(record.Site) && guest.Sites.Find(record.Site, record.Program) is { } site)
            {
                var name = guest.NameOf(record)!;
                var tracepoint = new Tracepoint(boot.Tracepoints.Count + 1, TracepointRequest.Parse(name), name, null, site.Entry, null);
                boot.Tracepoints.Add(tracepoint);
                boot._sites[record.Site] = site with { Tracepoints = [tracepoint] };
            }
        });
        return boot;
    }
}
