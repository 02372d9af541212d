using System.Text;
using KTrace.Boot;
using KTrace.Boot.Images;
using KTrace.Boot.Kernels;
using KTrace.Boot.Qemu;
using KTrace.Boot.Scenarios;
using KTrace.Debugger;
using KTrace.Debugger.Breakpoints;
using KTrace.Debugger.NonStop.Guest;
using KTrace.Debugger.NonStop.Sites;
using KTrace.Debugger.NonStop.Trampolines;
using KTrace.Rsp;
using KTrace.Rsp.Commands;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Unwind;
using KTrace.Tests.Boot;
using KTrace.Tests.Support;

namespace KTrace.Tests.Debugger.NonStop;

/// <summary>A guest whose console is kept whole, with memory for code in it; functions are armed with code that counts, and nothing else.</summary>
internal sealed class CoexistingGuest : IAsyncDisposable
{
    private const int CounterOffset = 0x20000;

    private readonly QemuProcess _qemu;
    private readonly TemporaryFolder _cache;
    private readonly StringBuilder _console = new();
    private readonly Task _reading;

    private CoexistingGuest(QemuProcess qemu, TemporaryFolder cache, KernelTarget target)
    {
        (_qemu, _cache, Target, Sites) = (qemu, cache, target, new ArmedSites(target.Machine));
        _reading = Task.Run(async () =>
        {
            await foreach (var piece in qemu.Console.Output.ReadAllAsync())
            {
                _console.Append(piece.Text).Append(piece.EndsLine ? "\n" : "");
            }
        });
    }

    public KernelTarget Target { get; }

    public Machine Machine => Target.Machine;

    public KernelMap Map => Target.Map;

    public NonStopMemory? Memory { get; private set; }

    public ArmedSites Sites { get; }

    /// <summary>Boots a kernel to its end without a debugger, and gives what it said.</summary>
    public static async Task<string> BootUntracedAsync(OracleKernel kernel, string script, string append, int cpus)
    {
        using var cache = new TemporaryFolder();
        var boot = await PrepareAsync(kernel, script, append, cpus, cache);
        await using var qemu = await QemuProcess.StartAsync(boot.CommandLine);
        var console = new StringBuilder();
        await qemu.ContinueAsync();
        using var patience = new CancellationTokenSource(TimeSpan.FromMinutes(10));
        await foreach (var piece in qemu.Console.Output.ReadAllAsync(patience.Token))
        {
            console.Append(piece.Text).Append(piece.EndsLine ? "\n" : "");
        }

        return console.ToString();
    }

    /// <summary>Boots until the kernel is known, takes memory out of its map, and lets it come to rest_init, where that is mapped.</summary>
    public static async Task<CoexistingGuest> BootAsync(OracleKernel kernel, string script, string append, int cpus, CancellationToken cancellationToken)
    {
        var cache = new TemporaryFolder();
        var boot = await PrepareAsync(kernel, script, append, cpus, cache);
        var qemu = await QemuProcess.StartAsync(boot.CommandLine, cancellationToken: cancellationToken);
        try
        {
            var target = await KernelTarget.BootAsync(RspEndpoint.Parse("unix:" + qemu.GdbSocket), KernelImage.Open(kernel.Vmlinux), new MachineOptions { RamFile = qemu.RamFile }, null, cancellationToken);
            var guest = new CoexistingGuest(qemu, cache, target);
            await guest.ReserveAsync(cancellationToken);
            return guest;
        }
        catch
        {
            await qemu.DisposeAsync();
            cache.Dispose();
            throw;
        }
    }

    /// <summary>Places code that counts calls in the counter of that number, and leaves every register and flag as it was.</summary>
    public ulong PlaceCounter(int number)
    {
        var memory = Memory!;
        var (at, counter) = (memory.NextCode, memory.Layout.Control + CounterOffset + (8 * (ulong)number));
        // pushf; lock inc [counter]; popf; ret
        List<byte> code = Map.Image.Architecture.WordSize == 8 ? [0x9c, 0xf0, 0x48, 0xff, 0x05] : [0x9c, 0xf0, 0xff, 0x05];
        code.AddRange(BitConverter.GetBytes((uint)(Map.Image.Architecture.WordSize == 8 ? counter - (at + (ulong)code.Count + 4) : counter)));
        code.AddRange([0x9d, 0xc3]);
        memory.Place(new CodeBlock(at, [.. code]));
        return at;
    }

    /// <summary>Arms functions that have the tracer's no-op: the number of functions, whose counters are numbered from 0.</summary>
    /// <param name="which">By name.</param>
    public async Task<int> ArmNopsAsync(Predicate<string> which, CancellationToken cancellationToken)
    {
        byte[] nop = Map.Image.Architecture.WordSize == 8 ? [0x0f, 0x1f, 0x44, 0x00, 0x00] : [0x3e, 0x8d, 0x74, 0x26, 0x00];
        var patches = new List<SitePatch>();
        var (init, initEnd) = (AddressOf("_sinittext"), AddressOf("_einittext"));
        var bytes = new byte[nop.Length];
        foreach (var symbol in Map.Image.Symbols.All.Where(s => s is { IsFunction: true, Size: > 8 } && which(s.Name)).DistinctBy(s => s.Value))
        {
            var entry = Map.ToRunTime(symbol.Value);
            var begins = await Target.Memory.TryReadAsync(entry, bytes, cancellationToken) && bytes.AsSpan().StartsWith(new byte[] { 0xf3, 0x0f, 0x1e, 0xfa }) ? 4ul : 0ul;
            if (await Target.Memory.TryReadAsync(entry + begins, bytes, cancellationToken) && bytes.AsSpan().SequenceEqual(nop) && Memory!.CodeLeft > 64)
            {
                var patch = entry + begins;
                var site = new NonStopSite(entry, patch, patch + (ulong)nop.Length, [.. nop], null) { IsInit = entry >= init && entry < initEnd };
                patches.Add(SitePatch.OverNop(site, PlaceCounter(patches.Count)));
            }
        }

        Assert.Empty(await Sites.ArmAsync(patches, cancellationToken));
        return patches.Count;
    }

    public ulong CountOf(int number) => Memory!.Counter(CounterOffset + (8 * number));

    public ulong AddressOf(string name) => Map.Image.TryFindSymbol(name, out var symbol) ? Map.ToRunTime(symbol.Value) : throw new InvalidOperationException($"no {name}");

    public async Task RunToAsync(string function, CancellationToken cancellationToken)
    {
        var site = BreakpointSite.Code(AddressOf(function));
        await Machine.Sites.AddAsync(site, this, cancellationToken);
        await Machine.Client.ContinueAsync(cancellationToken);
        Assert.IsType<StopReply.Stopped>(await Machine.Client.WaitForStopAsync(cancellationToken));
        await Machine.Sites.RemoveAsync(site, this, cancellationToken);
    }

    /// <summary>Lets the guest run; at each stop <paramref name="onStop"/> is asked, and the guest goes on, until it ends.</summary>
    public async Task<string> RunToEndAsync(Func<RegisterSet, Task> onStop, CancellationToken cancellationToken)
    {
        await Machine.Client.ContinueAsync(cancellationToken);
        while (await Machine.Client.WaitForStopAsync(cancellationToken) is StopReply.Stopped stop)
        {
            await onStop(await Machine.RegistersAsync(null, cancellationToken));
            await Machine.Client.StepAsync(stop.Thread, cancellationToken: cancellationToken);
            if (await Machine.Client.WaitForStopAsync(cancellationToken) is not StopReply.Stopped)
            {
                break;
            }

            await Machine.Client.ContinueAsync(cancellationToken);
        }

        await _reading.WaitAsync(TimeSpan.FromMinutes(1), cancellationToken);
        return _console.ToString();
    }

    public string ConsoleTail => _qemu.Console.Tail;

    public async ValueTask DisposeAsync()
    {
        Memory?.Dispose();
        await Target.DisposeAsync();
        await _qemu.DisposeAsync();
        _cache.Dispose();
    }

    private async Task ReserveAsync(CancellationToken cancellationToken)
    {
        await RunToAsync("setup_arch", cancellationToken);
        var page = Map.Image.Architecture.WordSize == 8 ? 2 << 20 : 4 << 20;
        var (reserved, whyNot) = await ReservedMemory.TryReserveAsync(Target, 3 * (ulong)page, (ulong)page, cancellationToken);
        Assert.True(reserved is not null, whyNot);
        // Before the kernel makes its first mm (poking_mm): on i386 each has a copy of the kernel's page directory.
        await RunToAsync("poking_init", cancellationToken);
        (Memory, whyNot) = await NonStopMemory.TryMapAsync(Machine, reserved, page, page, null, cancellationToken);
        Assert.True(Memory is not null, whyNot);
        await RunToAsync("rest_init", cancellationToken);
    }

    private static async Task<PreparedBoot> PrepareAsync(OracleKernel kernel, string script, string append, int cpus, TemporaryFolder cache)
    {
        var text = "#!/bin/sh\nexport PATH=/bin:/sbin:/usr/bin:/usr/sbin\nmount -t proc proc /proc\nmount -t sysfs sysfs /sys\nmount -t devtmpfs devtmpfs /dev\n"
            + script.ReplaceLineEndings("\n") + "\nsleep 1\n" + BootComparison.Script + "\npoweroff -f\nsleep 9\n";
        var scenario = new Scenario
        {
            Kernel = new KernelChoice { Image = kernel.Image, Vmlinux = kernel.Vmlinux, Modules = kernel.Modules, DebugModules = kernel.DebugModules },
            Initramfs = new InitramfsChoice { Build = new InitramfsDescription { Script = text, Busybox = kernel.Busybox } },
            Append = "console=ttyS0 quiet log_buf_len=4M panic=-1 " + append,
            Architecture = kernel.Architecture,
            Cpus = cpus,
            Nics = [new NetworkCard("e1000e")],
        };
        return await PreparedBoot.PrepareAsync(scenario, new KernelStore(cache.Path));
    }
}
