using System.Collections.Immutable;
using KTrace.Debugger.NonStop.Guest;
using KTrace.Debugger.NonStop.Relocation;
using KTrace.Debugger.NonStop.Sites;
using KTrace.Debugger.NonStop.Trampolines;
using KTrace.Debugger.Tracepoints;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Lookup;

namespace KTrace.Debugger.NonStop;

/// <summary>What became of a function that was to be armed.</summary>
/// <param name="Patch">Where its code was replaced; null where that could not even be tried.</param>
/// <param name="WhyNot">In words for people; null: it is armed.</param>
internal sealed record ArmedPlace(ulong Entry, ulong? Patch, string? WhyNot, IReadOnlyList<(Tracepoint Tracepoint, CodePlace Place)> Traced);

/// <summary>Places that are to be armed at one stop: each function gets its trampoline, and what leads there, once.</summary>
/// <param name="isBeforeTracer">The kernel's tracer has not made its no-ops yet.</param>
internal sealed class ArmingPlaces(KernelTarget target, NonStopMemory memory, ProgramTable programs, ArmedSites sites, bool isBeforeTracer)
{
    // arch/x86/include/asm/page_types.h, THREAD_SIZE: of a stack more than is ever in use.
    private const int StackSize = 16 << 10;

    // What ftrace_init writes over a call of __fentry__ (arch/x86/include/asm/nops.h).
    private static readonly ImmutableArray<byte> Nop64 = [0x0f, 0x1f, 0x44, 0x00, 0x00], Nop32 = [0x3e, 0x8d, 0x74, 0x26, 0x00];

    private readonly Dictionary<ulong, Wanted> _places = [];
    private byte[]? _stack;

    /// <summary>What is wanted at one function's entry, for each program that it leads through.</summary>
    private sealed record Wanted(ulong Entry, PlannedPlace Plan, KernelModule? Module)
    {
        public List<(TrampolineProgram Program, List<(Tracepoint Tracepoint, CodePlace Place)> Traced)> Programs { get; } = [];
    }

    /// <summary>Adds a place of a tracepoint.</summary>
    /// <param name="address">The function's entry, at run time.</param>
    /// <returns>Why it cannot be armed, in words for people; or null.</returns>
    public string? Add(Tracepoint tracepoint, CodePlace place, ulong address, PlannedPlace plan, KernelModule? module)
    {
        if (plan.Needs?.Condition is { NeedsView: true } && programs.View is null)
        {
            return "the guest's memory cannot be mapped a second time, as its condition asks for";
        }

        var program = programs.For(tracepoint.Request, plan.Needs?.Condition);
        if (!_places.TryGetValue(address, out var known))
        {
            _places[address] = known = new Wanted(address, plan, module);
        }

        var traced = known.Programs.Find(p => p.Program == program).Traced;
        if (traced is null)
        {
            known.Programs.Add((program, traced = []));
        }

        traced.Add((tracepoint, place));
        return null;
    }

    /// <summary>Arms all that was added.</summary>
    /// <returns>For each function where its code was to be replaced, why that was not done (or null), and whose hits are hits there.</returns>
    public async ValueTask<IReadOnlyList<ArmedPlace>> ArmAsync(CancellationToken cancellationToken)
    {
        var patches = new List<SitePatch>(_places.Count);
        var armed = new List<ArmedPlace>(_places.Count);
        foreach (var wanted in _places.Values)
        {
            var trampoline = programs.TrampolineOf(wanted.Programs.Select(p => p.Program));
            var (made, whyNot) = wanted.Plan.Relocation is { } relocation
                ? await MoveAsync(relocation, trampoline, wanted.Entry, wanted.Module, cancellationToken)
                : (await OverNopAsync(wanted.Entry, trampoline, wanted.Plan.Nop!.Value, wanted.Module, cancellationToken), null);
            armed.Add(new ArmedPlace(wanted.Entry, made?.Site.Patch, whyNot, [.. wanted.Programs.SelectMany(p => p.Traced)]));
            if (made is { } patch)
            {
                var site = patch.Site with { IsInit = wanted.Plan.Nop?.IsInit ?? wanted.Plan.IsInit };
                var sitesOf = wanted.Programs.Select(p => site with { Program = p.Program.Index, Tracepoints = [.. p.Traced.Select(t => t.Tracepoint)] }).ToImmutableArray();
                patches.Add(patch with { Site = sitesOf[0], Others = sitesOf[1..] });
            }
        }

        var refused = (await sites.ArmAsync(patches, cancellationToken)).Select(s => s.Entry).ToHashSet();
        return [.. armed.Select(a => refused.Contains(a.Entry) ? a with { WhyNot = "its code is in use: the kernel's own tracer, or a probe" } : a)];
    }

    private async ValueTask<SitePatch> OverNopAsync(ulong entry, ulong trampoline, TracerNop nop, KernelModule? module, CancellationToken cancellationToken)
    {
        var patch = entry + (nop.Patch - nop.Entry);
        var original = target.Map.Image.Architecture.WordSize == 8 ? Nop64 : Nop32;
        if (isBeforeTracer)
        {
            // The call that a compiler has made comes back before the tracer looks; objtool may have made a no-op of it at build time. Anything else is not ours to replace.
            const byte nearCall = 0xe8;
            var compiled = new byte[original.Length];
            original = await target.Memory.TryReadAsync(patch, compiled, cancellationToken) && compiled[0] == nearCall ? [.. compiled] : original;
        }

        return SitePatch.OverNop(new NonStopSite(entry, patch, patch + (ulong)original.Length, original, module?.Name), trampoline);
    }

    /// <summary>Puts a function's first instructions elsewhere, behind a call of the trampoline.</summary>
    private async ValueTask<(SitePatch? Patch, string? WhyNot)> MoveAsync(RelocationPlan plan, ulong trampoline, ulong entry, KernelModule? module, CancellationToken cancellationToken)
    {
        if (memory.CodeLeft < plan.MaximumBlockSize)
        {
            return (null, "there is no room left for its moved instructions");
        }

        var code = new byte[plan.Length];
        if (!await target.Memory.TryReadAsync(entry + (ulong)plan.PatchOffset, code, cancellationToken))
        {
            return (null, "its code could not be read");
        }

        if (await IsOccupiedAsync(plan, entry, cancellationToken))
        {
            return (null, "its first instructions are being executed at the moment");
        }

        if (!plan.TryAssemble(memory.NextCode, trampoline, entry, code, out var moved, out var whyNot))
        {
            return (null, whyNot);
        }

        memory.Place(moved.Block);
        sites.Moved.Add(moved);
        return (new SitePatch(new NonStopSite(entry, moved.Patch, moved.Return, moved.Original, module?.Name), moved.Jump.AsMemory()), null);
    }

    /// <summary>
    /// Whether somebody would go on in the middle of the jump. In setup_arch one CPU runs on one stack, with interrupts off since reset; of a module nothing has run when it is loaded. So the CPUs and the stack of
    /// the one that stopped are all there is to ask.
    /// </summary>
    private async ValueTask<bool> IsOccupiedAsync(RelocationPlan plan, ulong entry, CancellationToken cancellationToken)
    {
        var windows = new OccupiedWindows([(plan, entry)]);
        var machine = target.Machine;
        await machine.ReadAllRegistersAsync(cancellationToken);
        for (var cpu = 0; cpu < (await machine.ThreadsAsync(cancellationToken)).Count; cpu++)
        {
            if (windows.At((await machine.RegistersAsync(cpu, cancellationToken)).ProgramCounter) is not null)
            {
                return true;
            }
        }

        return windows.In(_stack ??= await StackAsync(cancellationToken)).Any();
    }

    private async ValueTask<byte[]> StackAsync(CancellationToken cancellationToken)
    {
        var pointer = (await target.Machine.RegistersAsync(null, cancellationToken)).StackPointer;
        var stack = new byte[StackSize - (int)(pointer % StackSize)];
        return await target.Memory.TryReadAsync(pointer, stack, cancellationToken) ? stack : [];
    }
}
