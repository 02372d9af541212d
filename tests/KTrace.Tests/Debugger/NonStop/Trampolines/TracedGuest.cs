using System.Collections.Immutable;
using System.Diagnostics;
using System.Text;
using KTrace.Boot;
using KTrace.Boot.Images;
using KTrace.Boot.Kernels;
using KTrace.Boot.Qemu;
using KTrace.Boot.Scenarios;
using KTrace.Debugger;
using KTrace.Debugger.NonStop.Guest;
using KTrace.Debugger.NonStop.Ring;
using KTrace.Debugger.NonStop.Sites;
using KTrace.Debugger.NonStop.Trampolines;
using KTrace.Rsp;
using KTrace.Rsp.Commands;
using KTrace.Symbols.Elf;
using KTrace.Symbols.Kernel;
using KTrace.Tests.Boot;
using KTrace.Tests.Support;

namespace KTrace.Tests.Debugger.NonStop.Trampolines;

/// <summary>A real guest with memory reserved for trampolines, stopped behind ftrace_init; functions are armed and their records read without more of the debugger than these rooms.</summary>
internal sealed class TracedGuest : IAsyncDisposable
{
    private static readonly Dictionary<string, Lazy<KernelImage>> Images = [];
    private static readonly byte[] Nop64 = [0x0f, 0x1f, 0x44, 0x00, 0x00], Nop32 = [0x3e, 0x8d, 0x74, 0x26, 0x00], LandingPad = [0xf3, 0x0f, 0x1e, 0xfa];
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(3);

    private readonly QemuProcess _qemu;
    private readonly TemporaryFolder _cache;
    private readonly StringBuilder _console = new();
    private readonly Task _reading;
    private readonly Dictionary<ulong, string> _names = [];

    private TracedGuest(QemuProcess qemu, TemporaryFolder cache, KernelTarget target, NonStopMemory memory, KernelOffsets offsets)
    {
        (_qemu, _cache, Target, Memory, Offsets, Sites) = (qemu, cache, target, memory, offsets, new ArmedSites(target.Machine));
        _reading = Task.Run(async () =>
        {
            await foreach (var piece in qemu.Console.Output.ReadAllAsync())
            {
                lock (_console)
                {
                    _console.Append(piece.Text).Append(piece.EndsLine ? "\n" : "");
                }
            }
        });
    }

    public KernelTarget Target { get; }

    public KernelMap Map => Target.Map;

    public RspClient Client => Target.Client;

    public NonStopMemory Memory { get; }

    public KernelOffsets Offsets { get; }

    public ArmedSites Sites { get; }

    public string Console
    {
        get
        {
            lock (_console)
            {
                return _console.ToString();
            }
        }
    }

    public static OracleKernel Stock => OracleKernel.Package(StockKernel.Root, StockKernel.Release);

    /// <param name="script">What /init does.</param>
    public static async Task<TracedGuest> BootAsync(
        OracleKernel kernel, string script, int cpus = 1, int? ringLimit = null, string append = "nokaslr", string? initramfs = null, string moment = "rest_init", string? cpu = null)
    {
        var cache = new TemporaryFolder();
        var scenario = new Scenario
        {
            Name = "traced",
            Kernel = new KernelChoice { Image = kernel.Image, Vmlinux = kernel.Vmlinux, Modules = kernel.Modules, DebugModules = kernel.DebugModules },
            Initramfs = initramfs is not null ? new InitramfsChoice { File = initramfs }
                : new InitramfsChoice
                {
                    Build = new InitramfsDescription
                    {
                        Busybox = kernel.Busybox,
                        Script = "#!/bin/sh\nexport PATH=/bin:/sbin\nmount -t proc proc /proc\nmount -t sysfs sysfs /sys\nmount -t devtmpfs devtmpfs /dev\n"
                            + script.ReplaceLineEndings("\n") + "\npoweroff -f\nsleep 9\n",
                    },
                },
            Append = "console=ttyS0 printk.time=0 panic=-1 " + append,
            Architecture = kernel.Architecture,
            Cpus = cpus,
            Cpu = cpu,
        };
        var boot = await PreparedBoot.PrepareAsync(scenario, new KernelStore(cache.Path));
        var image = ImageOf(kernel.Vmlinux);
        var qemu = await QemuProcess.StartAsync(boot.CommandLine);
        KernelTarget? target = null;
        try
        {
            target = await KernelTarget.BootAsync(
                RspEndpoint.Parse("unix:" + qemu.GdbSocket), image, new MachineOptions { RamFile = qemu.RamFile }, null, CancellationToken.None);
            var page = kernel.Architecture == "i386" ? 4 << 20 : 2 << 20;
            var size = NonStopMemory.RingSizeFor(ReservedMemory.RamOf(target.Memory.Ram!), image.Architecture, page, null);
            await RunToAsync(target.Client, ReservedMemory.MomentIn(target.Map)!.Value);
            var (reserved, why) = await ReservedMemory.TryReserveAsync(target, (ulong)(size + (2 * page)), (ulong)page, CancellationToken.None);
            Assert.True(reserved is not null, why);
            await RunToAsync(target.Client, target.Map.ToRunTime(Symbol(image, moment).Value));
            var (memory, whyNot) = await NonStopMemory.TryMapAsync(target.Machine, reserved, page, size, ringLimit, CancellationToken.None);
            Assert.True(memory is not null, whyNot);
            return new TracedGuest(qemu, cache, target, memory, KernelOffsets.Find(target.Map)!);
        }
        catch
        {
            await (target?.DisposeAsync() ?? ValueTask.CompletedTask);
            await qemu.DisposeAsync();
            cache.Dispose();
            throw;
        }
    }

    public static ElfSymbol Symbol(KernelImage image, string name) => image.TryFindSymbol(name, out var symbol) ? symbol : throw new InvalidOperationException($"no {name}");

    public ulong AddressOf(string function) => Map.ToRunTime(Symbol(Map.Image, function).Value);

    /// <summary>Puts a program's trampoline into the guest.</summary>
    public ulong Place(TrampolineProgram program, bool lossy = false, ReturnTrampoline? returns = null, GuestView? view = null)
    {
        var block = EntryTrampoline.Assemble(Offsets, Memory.Layout, program, lossy, Memory.NextCode, returns, view);
        Memory.Place(block);
        return block.Address;
    }

    public ReturnTrampoline PlaceReturns(bool lossy = false)
    {
        var returns = ReturnTrampoline.Assemble(Offsets, Memory.Layout, lossy, Memory.NextCode);
        Memory.Place(returns.Code);
        return returns;
    }

    /// <summary>Arms functions that have the tracer's no-op.</summary>
    /// <returns>How many.</returns>
    public async Task<int> ArmAsync(Func<string, bool> which, ulong trampoline, int limit = int.MaxValue)
    {
        var patches = new List<SitePatch>();
        var nop = Map.Image.Architecture.WordSize == 8 ? Nop64 : Nop32;
        var bytes = new byte[LandingPad.Length + nop.Length];
        foreach (var symbol in Map.Image.Symbols.All.Where(s => s.IsFunction && s.Size > 0 && which(s.Name)))
        {
            var entry = Map.ToRunTime(symbol.Value);
            if (patches.Count >= limit || !await Target.Memory.TryReadAsync(entry, bytes, CancellationToken.None))
            {
                continue;
            }

            var patch = bytes.AsSpan(0, 4).SequenceEqual(LandingPad) ? 4 : 0;
            if (bytes.AsSpan(patch, nop.Length).SequenceEqual(nop) && _names.TryAdd(entry + (ulong)(patch + nop.Length), symbol.Name))
            {
                patches.Add(SitePatch.OverNop(new NonStopSite(entry, entry + (ulong)patch, entry + (ulong)(patch + nop.Length), [.. nop], null), trampoline));
            }
        }

        Assert.Empty(await Sites.ArmAsync(patches, CancellationToken.None));
        return patches.Count;
    }

    /// <summary>The function that a record is of; null: none that was armed.</summary>
    public string? NameOf(in RingRecord record) => _names.GetValueOrDefault(record.Site);

    public async Task RunToAsync(ulong address) => await RunToAsync(Client, address);

    /// <summary>Lets it run to its end.</summary>
    /// <param name="take">Gets every record.</param>
    /// <returns>Seconds.</returns>
    public async Task<double> RunToEndAsync(RingRecordTaker take, Func<Task>? meanwhile = null)
    {
        using var patience = new CancellationTokenSource(Patience);
        using var drain = new RingDrain(Memory.Reader, take, long.MaxValue, () => { });
        var clock = Stopwatch.StartNew();
        await Client.ContinueAsync(patience.Token);
        drain.GuestRuns();
        if (meanwhile is not null)
        {
            await meanwhile();
        }

        try
        {
            Assert.False(await Client.WaitForStopAsync(patience.Token) is StopReply.Stopped, "the guest stopped");
        }
        catch (OperationCanceledException)
        {
            var said = Console;
            throw new TimeoutException("the guest goes on and on; it said last:\n" + said[^Math.Min(said.Length, 3000)..]);
        }

        var seconds = clock.Elapsed.TotalSeconds;
        drain.GuestStopped();
        await _reading.WaitAsync(TimeSpan.FromMinutes(1), CancellationToken.None);
        return seconds;
    }

    public async ValueTask DisposeAsync()
    {
        Memory.Reader.Close();
        await Target.DisposeAsync();
        await _qemu.DisposeAsync();
        Memory.Dispose();
        _cache.Dispose();
    }

    private static async Task RunToAsync(RspClient client, ulong address)
    {
        using var patience = new CancellationTokenSource(Patience);
        await client.SendAsync(new InsertBreakpoint(BreakpointKind.Software, address), patience.Token);
        await client.ContinueAsync(patience.Token);
        Assert.IsType<StopReply.Stopped>(await client.WaitForStopAsync(patience.Token));
        await client.SendAsync(new RemoveBreakpoint(BreakpointKind.Software, address), patience.Token);
    }

    private static KernelImage ImageOf(string vmlinux)
    {
        lock (Images)
        {
            if (!Images.TryGetValue(vmlinux, out var image))
            {
                Images[vmlinux] = image = new Lazy<KernelImage>(() => KernelImage.Open(vmlinux));
            }

            return image.Value;
        }
    }
}
