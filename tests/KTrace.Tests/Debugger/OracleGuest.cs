using System.Text;
using KTrace.Boot;
using KTrace.Boot.Images;
using KTrace.Boot.Kernels;
using KTrace.Boot.Qemu;
using KTrace.Boot.Scenarios;
using KTrace.Debugger;
using KTrace.Debugger.Modules;
using KTrace.Debugger.Recording;
using KTrace.Rsp;
using KTrace.Rsp.Commands;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Unwind;
using KTrace.Tests.Boot;

namespace KTrace.Tests.Debugger;

/// <summary>A kernel that the oracle tests boot.</summary>
/// <param name="Modules">A folder like /lib/modules/RELEASE, or null for a kernel without modules.</param>
internal sealed record OracleKernel(string Image, string Vmlinux, string? Modules = null, string? DebugModules = null, string Architecture = "x86-64", string? Busybox = null)
{
    /// <summary>A kernel in the layout of an unpacked package: what <c>ktrace kernel fetch</c> leaves in the cache.</summary>
    public static OracleKernel Package(string root, string release) => new(
        Path.Combine(root, "boot", "vmlinuz-" + release),
        Path.Combine(root, "usr/lib/debug/boot", "vmlinux-" + release),
        Path.Combine(root, "lib/modules", release),
        Path.Combine(root, "usr/lib/debug/lib/modules", release));

    /// <summary>A kernel build tree.</summary>
    public static OracleKernel Tree(string tree, string architecture) =>
        new(Path.Combine(tree, "arch/x86/boot/bzImage"), Path.Combine(tree, "vmlinux"), Architecture: architecture);
}

/// <summary>A guest under our control, with everything that it said on its console.</summary>
internal sealed class OracleGuest : IAsyncDisposable
{
    private static readonly Dictionary<string, Lazy<KernelImage>> Images = [];

    // Many times what the longest test takes: who waits for a guest that does nothing any more is to fail, not to wait for ever.
    private static readonly TimeSpan Lifetime = TimeSpan.FromMinutes(20);

    private readonly CancellationTokenSource _lifetime = new(Lifetime);
    private readonly QemuProcess _qemu;
    private readonly TemporaryFolder _cache;
    private readonly StringBuilder _console = new();
    private readonly Task _reading;
    private readonly ModuleTracker? _modules;
    private readonly ulong? _moduleInit;
    private volatile bool _timedOut;

    private OracleGuest(QemuProcess qemu, TemporaryFolder cache, KernelTarget target, ModuleTracker? modules)
    {
        _qemu = qemu;
        _cache = cache;
        Target = target;
        Capture = new HitCapture(target.Client, target.Map);
        _modules = modules;
        _lifetime.Token.Register(() => _ = qemu.KillAsync());
        _moduleInit = modules is { CanRead: true } && target.Map.Image.TryFindSymbol(ModuleTracker.InitFunction, out var symbol) ? target.Map.ToRunTime(symbol.Value) : null;
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

    public HitCapture Capture { get; }

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

    /// <summary>Boots up to the point at which the kernel was identified; the guest is stopped there.</summary>
    /// <param name="script">What /init does, as busybox's shell reads it.</param>
    public static async Task<OracleGuest> BootAsync(
        OracleKernel kernel, string script, string append = "", int cpus = 1, string? cpu = null, string? initramfs = null, string[]? modules = null)
    {
        var cache = new TemporaryFolder();
        var text = "#!/bin/sh\nexport PATH=/bin:/sbin:/usr/bin:/usr/sbin\nmount -t proc proc /proc\nmount -t sysfs sysfs /sys\nmount -t devtmpfs devtmpfs /dev\n"
            + string.Concat((modules ?? []).Select(m => $"insmod $(find /lib/modules -name '{m}.ko*')\n")) + script.ReplaceLineEndings("\n") + "\npoweroff -f\nsleep 9\n";
        var scenario = new Scenario
        {
            Name = "oracle",
            Kernel = new KernelChoice { Image = kernel.Image, Vmlinux = kernel.Vmlinux, Modules = kernel.Modules, DebugModules = kernel.DebugModules },
            Initramfs = initramfs is not null ? new InitramfsChoice { File = initramfs }
                : new InitramfsChoice { Build = new InitramfsDescription { Modules = [.. modules ?? []], Script = text, Busybox = kernel.Busybox } },
            Append = "console=ttyS0 nokaslr ignore_loglevel sysrq_always_enabled printk.time=0 log_buf_len=4M panic=-1 " + append,
            Architecture = kernel.Architecture,
            Cpus = cpus,
            Cpu = cpu,
            Nics = modules is null ? [] : [new NetworkCard("e1000e")],
        };
        var store = new KernelStore(cache.Path);
        var boot = await PreparedBoot.PrepareAsync(scenario, store);
        var image = ImageOf(kernel.Vmlinux);
        var qemu = await QemuProcess.StartAsync(boot.CommandLine);
        try
        {
            var target = await KernelTarget.BootAsync(RspEndpoint.Parse("unix:" + qemu.GdbSocket), image, new RspClientOptions(), null, CancellationToken.None);
            var tracker = modules is null ? null : new ModuleTracker(target.Map, target.Memory, new KTrace.Debugger.Modules.ModuleFiles([kernel.Modules!, kernel.DebugModules!]));
            return new OracleGuest(qemu, cache, target, tracker);
        }
        catch
        {
            await qemu.DisposeAsync();
            cache.Dispose();
            throw;
        }
    }

    /// <summary>Lets the guest run to its end and calls <paramref name="onStop"/> whenever it comes to one of the functions.</summary>
    /// <param name="onStop">Gets the capture; false removes all breakpoints and lets the guest run on freely.</param>
    public async Task RunAsync(IEnumerable<string> functions, Func<StopCapture, Task<bool>> onStop, TimeSpan limit)
    {
        using var patience = new CancellationTokenSource(limit);
        var places = functions.Select(f => Map.Image.TryFindSymbol(f, out var symbol) ? Map.ToRunTime(symbol.Value) : throw new InvalidOperationException($"no function {f}")).ToHashSet();
        foreach (var place in _moduleInit is { } init ? places.Append(init) : places)
        {
            await Client.SendAsync(new InsertBreakpoint(BreakpointKind.Software, place), patience.Token);
        }

        await using var timeout = patience.Token.Register(() => _timedOut = true);
        await Client.ContinueAsync(patience.Token);
        while (await WaitAsync(patience.Token) is StopReply.Stopped stop)
        {
            var capture = await Capture.TakeAsync(stop, patience.Token);
            var pc = capture.Registers.ProgramCounter;
            if (pc == _moduleInit && await _modules!.ReadAsync(capture.Registers, patience.Token) is { } loaded)
            {
                Map.Load(loaded.Module);
            }
            else if (places.Contains(pc) && !await onStop(capture))
            {
                foreach (var place in places)
                {
                    await Client.SendAsync(new RemoveBreakpoint(BreakpointKind.Software, place), patience.Token);
                }

                places.Clear();
                await Client.ContinueAsync(patience.Token);
                continue;
            }

            await Client.StepAsync(stop.Thread, cancellationToken: patience.Token);
            if (await Client.WaitForStopAsync(patience.Token) is StopReply.Stopped)
            {
                await Client.ContinueAsync(patience.Token);
            }
        }

        await _reading.WaitAsync(TimeSpan.FromMinutes(1), CancellationToken.None);
    }

    private async Task<StopReply> WaitAsync(CancellationToken cancellationToken)
    {
        try
        {
            return await Client.WaitForStopAsync(cancellationToken);
        }
        catch (OperationCanceledException) when (_timedOut)
        {
            throw new TimeoutException("the guest goes on and on; it said last:\n" + Console[^Math.Min(Console.Length, 3000)..]);
        }
    }

    /// <summary>Stops the running guest again and again and takes the stack of every CPU.</summary>
    public async Task InterruptAsync(int stops, Func<TimeSpan> pause, Func<StopCapture, Task> onCapture)
    {
        using var patience = new CancellationTokenSource(TimeSpan.FromMinutes(5));
        for (var i = 0; i < stops; i++)
        {
            await Client.ContinueAsync(patience.Token);
            await Task.Delay(pause(), patience.Token);
            await Client.InterruptAsync(patience.Token);
            if (await Client.WaitForStopAsync(patience.Token) is not StopReply.Stopped stop)
            {
                return;
            }

            foreach (var thread in await Client.ListThreadsAsync(patience.Token))
            {
                await Client.SendAsync(new SelectThread(thread), patience.Token);
                await onCapture(await Capture.TakeAsync(stop with { Thread = thread }, patience.Token));
            }
        }
    }

    /// <summary>Runs until the console has shown the text, and stops.</summary>
    public async Task RunUntilSaidAsync(string text, TimeSpan limit)
    {
        using var patience = new CancellationTokenSource(limit);
        await Client.ContinueAsync(patience.Token);
        await _qemu.Console.WaitForAsync(text, patience.Token);
        await Client.InterruptAsync(patience.Token);
        await Client.WaitForStopAsync(patience.Token);
    }

    /// <summary>Runs until a CPU comes to the address; false when none does in time, or the guest ended. The guest stands in any case.</summary>
    public async Task<bool> RunToAsync(ulong address, TimeSpan limit)
    {
        await Client.SendAsync(new InsertBreakpoint(BreakpointKind.Hardware, address));
        try
        {
            await Client.ContinueAsync();
            using var patience = new CancellationTokenSource(limit);
            try
            {
                return await Client.WaitForStopAsync(patience.Token) is StopReply.Stopped;
            }
            catch (OperationCanceledException)
            {
                await Client.InterruptAsync();
                await Client.WaitForStopAsync();
                return false;
            }
        }
        finally
        {
            if (Client.State == RspState.Stopped)
            {
                await Client.SendAsync(new RemoveBreakpoint(BreakpointKind.Hardware, address));
            }
        }
    }

    public async Task<StopCapture> CaptureAsync() => await Capture.TakeAsync((StopReply.Stopped)Client.LastStop, CancellationToken.None);

    public async Task StepAsync()
    {
        await Client.StepAsync(((StopReply.Stopped)Client.LastStop).Thread);
        await Client.WaitForStopAsync();
    }

    /// <summary>"function+0xoffset", or the address where nothing is known.</summary>
    public string Name(UnwoundFrame frame)
    {
        var frames = Map.Symbolize(frame.LookupAddress);
        var function = frames[^1];
        return $"{function.Function}+0x{function.Offset + (frame.IsCall ? 1ul : 0):x}{(function.Module is { } module ? $" [{module}]" : "")}";
    }

    public async ValueTask DisposeAsync()
    {
        _lifetime.Dispose();
        await Target.DisposeAsync();
        await _qemu.DisposeAsync();
        _cache.Dispose();
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
