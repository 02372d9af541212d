using System.Collections.Immutable;
using KTrace.Boot;
using KTrace.Boot.Kernels;
using KTrace.Boot.Qemu;
using KTrace.Boot.Scenarios;
using KTrace.Debugger;
using KTrace.Debugger.Modules;
using KTrace.Debugger.Recording;
using KTrace.Rsp;
using KTrace.Rsp.Commands;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Recovery;
using KTrace.Symbols.Unwind;
using ModuleFiles = KTrace.Debugger.Modules.ModuleFiles;

namespace KTrace.Tests.Symbols.Recovery;

/// <summary>
/// The truth about what functions were called with: a guest is booted with a breakpoint at the first instruction of every function that will be on the call path, and the argument
/// registers of the very activations that are on the stack at a hit are compared with what was recovered there.
/// </summary>
internal sealed class EntryTruth(Scenario scenario)
{
    // Code that runs all the time would keep the boot from ending.
    private const int MaximumStops = 700;
    private const int StackWords = 6;

    private readonly Dictionary<(ulong Entry, ulong Cfa), (RegisterSet Registers, ulong[] Stack)> _entered = [];
    private readonly Dictionary<string, HashSet<ulong>> _functions = [];
    private readonly Dictionary<ulong, int> _stops = [];
    private readonly HashSet<ulong> _armed = [];

    public List<string> Contradictions { get; } = [];

    public List<string> Unknown { get; } = [];

    public int Hits { get; private set; }

    /// <summary>Declared arguments of the functions that have frames, and in registers or on the stack.</summary>
    public int Arguments { get; private set; }

    public int Recovered { get; private set; }

    /// <summary>Recovered values of which it is known what was passed.</summary>
    public int Checked { get; private set; }

    /// <summary>Boots twice: the first time to see which functions are on the paths.</summary>
    public async Task RunAsync(string tracepoint, int maximumHits = 19)
    {
        await BootAsync(tracepoint, maximumHits, isTruth: false);
        await BootAsync(tracepoint, maximumHits, isTruth: true);
    }

    private async Task BootAsync(string tracepoint, int maximumHits, bool isTruth)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(4));
        var cancel = limit.Token;
        var prepared = await PreparedBoot.PrepareAsync(scenario, new KernelStore(), null, null, cancel);
        var image = KernelImage.Open(prepared.Kernel?.Vmlinux ?? prepared.Scenario.Kernel!.Vmlinux!);
        using var modules = new ModuleFiles(((string?[])[prepared.Kernel?.ModulesDirectory, prepared.Kernel?.DebugModulesDirectory]).OfType<string>());
        await using var qemu = await QemuProcess.StartAsync(prepared.CommandLine, TimeSpan.FromSeconds(30), cancel);
        _ = DrainAsync(qemu, cancel);
        await using var target = await KernelTarget.BootAsync(RspEndpoint.Parse("unix:" + qemu.GdbSocket), image, new RspClientOptions(), null, cancel);
        using var recovery = new FrameRecovery(target.Map);
        var tracker = new ModuleTracker(target.Map, target.Memory, modules);
        var capture = new HitCapture(target.Client, target.Map);
        var memory = new LiveMemory(target.Client);
        _armed.Clear();
        var hit = image.TryFindSymbol(tracepoint, out var symbol) ? target.Map.ToRunTime(symbol.Value) : throw new InvalidOperationException(tracepoint);
        await ArmAsync(target, hit, cancel);
        ulong moduleInit = 0;
        if (image.TryFindSymbol(ModuleTracker.InitFunction, out var init))
        {
            moduleInit = target.Map.ToRunTime(init.Value);
            await ArmAsync(target, moduleInit, cancel);
        }

        if (isTruth)
        {
            foreach (var entry in _functions.GetValueOrDefault("", []))
            {
                await ArmAsync(target, target.Map.ToRunTime(entry), cancel);
            }
        }

        var hits = 0;
        await target.Client.ContinueAsync(cancel);
        while (hits < maximumHits && await target.Client.WaitForStopAsync(cancel) is StopReply.Stopped stop)
        {
            var taken = await capture.TakeAsync(stop, cancel);
            var pc = taken.Registers.ProgramCounter;
            if (pc == moduleInit && await tracker.ReadAsync(taken.Registers, cancel) is { } loaded)
            {
                target.Map.Load(loaded.Module);
                foreach (var offset in isTruth ? _functions.GetValueOrDefault(loaded.Module.Name, []) : [])
                {
                    await ArmAsync(target, loaded.Module.TextBase + offset, cancel);
                }
            }

            if (isTruth)
            {
                Enter(taken.Registers, memory);
            }

            if (pc == hit)
            {
                hits++;
                if (isTruth)
                {
                    Compare(target.Map, recovery, taken.Stack.Frames, memory);
                    Hits++;
                }
                else
                {
                    Note(target.Map, taken.Stack.Frames);
                }
            }
            else if (pc != moduleInit && ++System.Runtime.InteropServices.CollectionsMarshal.GetValueRefOrAddDefault(_stops, pc, out _) > MaximumStops)
            {
                await target.Client.SendAsync(new RemoveBreakpoint(BreakpointKind.Software, pc, 1), cancel);
                _armed.Remove(pc);
            }

            await target.Client.StepAsync(stop.Thread, cancellationToken: cancel);
            if (await target.Client.WaitForStopAsync(cancel) is not StopReply.Stopped)
            {
                break;
            }

            await target.Client.ContinueAsync(cancel);
        }
    }

    private static async Task DrainAsync(QemuProcess qemu, CancellationToken cancel)
    {
        try
        {
            await foreach (var _ in qemu.Console.Output.ReadAllAsync(cancel))
            {
            }
        }
        catch (OperationCanceledException)
        {
        }
    }

    private async Task ArmAsync(KernelTarget target, ulong address, CancellationToken cancel)
    {
        if (_armed.Add(address))
        {
            await target.Client.SendAsync(new InsertBreakpoint(BreakpointKind.Software, address, 1), cancel);
        }
    }

    private void Note(KernelMap map, ImmutableArray<UnwoundFrame> frames)
    {
        foreach (var frame in frames)
        {
            if (EntryOf(map, frame) is not (> 0 and var entry))
            {
                continue;
            }

            var module = map.ModuleAt(entry);
            var key = module?.Name ?? "";
            if (!_functions.TryGetValue(key, out var set))
            {
                _functions.Add(key, set = []);
            }

            set.Add(module is null ? map.ToLinkTime(entry) : entry - module.TextBase);
        }
    }

    private static ulong EntryOf(KernelMap map, UnwoundFrame frame)
    {
        var module = map.ModuleAt(frame.LookupAddress);
        var symbolizer = module is null ? map.Image.Symbolizer : module.Symbolizer;
        var address = module is null ? map.ToLinkTime(frame.LookupAddress) : frame.LookupAddress;
        return symbolizer?.FindFunctionAt(address) is { Parameters.IsEmpty: false } function ? (module is null ? map.ToRunTime(function.LowPc) : function.LowPc) : 0;
    }

    private void Enter(RegisterSet registers, LiveMemory memory)
    {
        var word = registers.Architecture.WordSize;
        var stack = new ulong[StackWords];
        Span<byte> bytes = stackalloc byte[StackWords * 8];
        var cfa = registers.StackPointer + (ulong)word;
        if (memory.Read(cfa, bytes[..(StackWords * word)]) == MemoryReadResult.Ok)
        {
            for (var i = 0; i < StackWords; i++)
            {
                stack[i] = word == 8 ? BitConverter.ToUInt64(bytes[(i * 8)..]) : BitConverter.ToUInt32(bytes[(i * 4)..]);
            }
        }

        _entered[(registers.ProgramCounter, cfa)] = (registers.Clone(), stack);
    }

    private void Compare(KernelMap map, FrameRecovery recovery, ImmutableArray<UnwoundFrame> frames, LiveMemory memory)
    {
        var architecture = map.Image.Architecture;
        for (var i = 0; i < frames.Length; i++)
        {
            if (EntryOf(map, frames[i]) is not (> 0 and var entry) || map.FunctionAt(entry) is not { } function)
            {
                continue;
            }

            // Before the first instruction has run, the function has no frame yet.
            var cfa = i + 1 < frames.Length && frames[i + 1].IsCall ? frames[i + 1].Registers.StackPointer : 0;
            var isTrue = _entered.TryGetValue((entry, cfa), out var truth) && _armed.Contains(entry);
            for (var argument = 0; argument < function.Parameters.Length; argument++)
            {
                var inRegister = argument < architecture.ArgumentRegisters.Length;
                var offset = (argument - architecture.ArgumentRegisters.Length) * architecture.WordSize;
                if (!inRegister && offset >= StackWords * architecture.WordSize)
                {
                    continue;
                }

                Arguments++;
                var value = inRegister
                    ? recovery.EntryRegister(frames, i, architecture.ArgumentRegisters[argument], memory)
                    : recovery.EntrySlot(frames, i, offset, architecture.WordSize, memory);
                var name = $"hit {Hits + 1} frame {i} {function.Name} argument {argument} ({function.Parameters[argument].Name})";
                if (!value.IsKnown)
                {
                    Unknown.Add(name);
                    continue;
                }

                Recovered++;
                if (!isTrue)
                {
                    continue;
                }

                Checked++;
                var seen = inRegister ? truth.Registers[architecture.ArgumentRegisters[argument]] : truth.Stack[offset / architecture.WordSize];
                var mask = value.Bits >= 64 ? ulong.MaxValue : (1UL << value.Bits) - 1;
                if (((seen ^ value.Value) & mask) != 0)
                {
                    Contradictions.Add($"{name}: recovered 0x{value.Value:x} ({value.Bits} bits), seen 0x{seen:x}");
                }
            }
        }
    }

    /// <summary>Memory of a guest that stands still, fetched when it is asked for.</summary>
    internal sealed class LiveMemory(RspClient client) : IMemoryReader
    {
        public MemoryReadResult Read(ulong address, Span<byte> destination)
        {
            var bytes = new byte[destination.Length];
            if (!client.ReadMemoryAsync(address, bytes).AsTask().GetAwaiter().GetResult().IsComplete)
            {
                return MemoryReadResult.Unreadable;
            }

            bytes.CopyTo(destination);
            return MemoryReadResult.Ok;
        }
    }
}
