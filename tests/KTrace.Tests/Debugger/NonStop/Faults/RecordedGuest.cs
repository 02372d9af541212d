using System.Threading.Channels;
using KTrace.Boot;
using KTrace.Boot.Images;
using KTrace.Boot.Kernels;
using KTrace.Boot.Qemu;
using KTrace.Boot.Scenarios;
using KTrace.Debugger;
using KTrace.Debugger.NonStop;
using KTrace.Debugger.NonStop.Conditions;
using KTrace.Debugger.NonStop.Relocation;
using KTrace.Debugger.NonStop.Sites;
using KTrace.Debugger.Recording;
using KTrace.Debugger.Tracepoints;
using KTrace.Rsp;
using KTrace.Symbols.Kernel;
using KTrace.Tests.Boot;
using ModuleFiles = KTrace.Debugger.Modules.ModuleFiles;
using KTrace.Tracing;

namespace KTrace.Tests.Debugger.NonStop.Faults;

/// <summary>A guest that is recorded without stops by the real recorder, with what a test wants to be different.</summary>
internal sealed class RecordedGuest : IAsyncDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(10);

    private readonly TemporaryFolder _folder;
    private readonly QemuProcess _qemu;
    private readonly KernelImage _image;
    private readonly Channel<ReadOnlyMemory<byte>> _console = Channel.CreateUnbounded<ReadOnlyMemory<byte>>();

    private readonly System.Text.StringBuilder _said = new();
    private readonly Task _listening;

    private RecordedGuest(TemporaryFolder folder, QemuProcess qemu, KernelImage image, KernelTarget target)
    {
        (_folder, _qemu, _image, Target) = (folder, qemu, image, target);
        _listening = Task.Run(async () =>
        {
            await foreach (var piece in qemu.Console.Output.ReadAllAsync())
            {
                lock (_said)
                {
                    _said.Append(piece.Text).Append(piece.EndsLine ? "\n" : "");
                }

                _console.Writer.TryWrite(piece.Bytes);
            }

            _console.Writer.TryComplete();
        });
    }

    public KernelTarget Target { get; }

    public string TraceFile => Path.Combine(_folder.Path, "run.ktrace");

    /// <summary>What the recorder was told to be done with when it ended.</summary>
    public Trace Trace => Trace.Load(TraceFile);

    /// <summary>All that the guest said; it has ended.</summary>
    public async Task<string> ConsoleAsync()
    {
        await _listening.WaitAsync(Patience);
        lock (_said)
        {
            return _said.ToString();
        }
    }

    /// <param name="script">What /init does.</param>
    public static async Task<RecordedGuest> BootAsync(OracleKernel kernel, string script, int cpus = 1, string append = "nokaslr", IReadOnlyList<string>? modules = null, string? cpu = null)
    {
        var folder = new TemporaryFolder();
        var scenario = new Scenario
        {
            Kernel = new KernelChoice { Image = kernel.Image, Vmlinux = kernel.Vmlinux, Modules = kernel.Modules, DebugModules = kernel.DebugModules },
            Initramfs = new InitramfsChoice
            {
                Build = new InitramfsDescription
                {
                    Script = "#!/bin/sh\nexport PATH=/bin:/sbin:/usr/bin:/usr/sbin\nmount -t proc proc /proc\nmount -t sysfs sysfs /sys\nmount -t devtmpfs devtmpfs /dev\n"
                        + script.ReplaceLineEndings("\n") + "\nstty opost < /dev/console\npoweroff -f\nsleep 9\n", // stty waits until the serial line has sent what was said
                    Busybox = kernel.Busybox,
                    Modules = [.. modules ?? []],
                },
            },
            Append = "console=ttyS0 printk.time=0 panic=-1 " + append,
            Architecture = kernel.Architecture,
            Cpus = cpus,
            Cpu = cpu,
            Nics = [new NetworkCard("e1000e")],
        };
        QemuProcess? qemu = null;
        try
        {
            var boot = await PreparedBoot.PrepareAsync(scenario, new KernelStore(folder.Path));
            qemu = await QemuProcess.StartAsync(boot.CommandLine);
            var image = KernelImage.Open(kernel.Vmlinux);
            var target = await KernelTarget.BootAsync(RspEndpoint.Parse("unix:" + qemu.GdbSocket), image, new MachineOptions { RamFile = qemu.RamFile }, null, CancellationToken.None);
            return new RecordedGuest(folder, qemu, image, target);
        }
        catch
        {
            await (qemu?.DisposeAsync() ?? ValueTask.CompletedTask);
            folder.Dispose();
            throw;
        }
    }

    /// <summary>Records until the guest ends, or there are hits enough.</summary>
    public async Task<RecordingResult> RecordAsync(
        IReadOnlyList<string> places, CaptureOptions options, IRecordingProgress? progress = null, ModuleFiles? modules = null, long? maximumHits = null, string? until = null)
    {
        using var patience = new CancellationTokenSource(Patience);
        modules ??= new ModuleFiles([]);
        var relocation = new EntryRelocation(_image);
        var resolver = new TracepointResolver(_image, modules) { Capture = options.Choice, CanRelocate = relocation.CanMove };
        var tracepoints = resolver.Resolve(places);
        var planner = new WayPlanner(options, null, resolver.Traceable) { RelocateEntry = relocation.Plan, CompileCondition = new ConditionCompiler(_image).Compile };
        using var writer = new TraceWriter(TraceFile);
        writer.Write(new TraceRecord.Header
        {
            Format = TraceFormat.Compact, Tool = "test", Arch = _image.Architecture.Name, Kernel = new TraceKernel(_image.Release, null, _image.Banner), Boot = TraceBoot.Empty, HasContexts = true,
            Tracepoints = [.. tracepoints.Select(t => t.ToRecord())],
        });
        var recorder = new Recorder(Target, tracepoints, modules, writer, _console.Reader, new RecorderLimits(maximumHits, null, until), progress, new NonStopRequest(planner, options));
        var result = await recorder.RunAsync(null, patience.Token);
        Assert.NotEqual(RecordingEnd.Interrupted, result.End);
        return result;
    }

    /// <summary>Lets it go on after a recording, without tracepoints, to its end.</summary>
    public async Task GoOnAsync()
    {
        using var patience = new CancellationTokenSource(Patience);
        await Target.Client.ContinueAsync(patience.Token);
        Assert.IsNotType<StopReply.Stopped>(await Target.Client.WaitForStopAsync(patience.Token));
    }

    public async ValueTask DisposeAsync()
    {
        await Target.DisposeAsync();
        await _qemu.DisposeAsync();
        _folder.Dispose();
    }
}
