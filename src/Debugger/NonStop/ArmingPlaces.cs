using System.Collections.Immutable;
using KTrace.Debugger.NonStop.Guest;
using KTrace.Debugger.NonStop.Relocation;
using KTrace.Debugger.NonStop.Sites;
using KTrace.Debugger.NonStop.Trampolines;
using KTrace.Debugger.Tracepoints;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Lookup;

namespace KTrace.Debugger.NonStop;

/// <summary>Places that are to be armed at one stop: each function gets its trampoline, and what leads there, once.</summary>
/// <param name="isBeforeTracer">The kernel's tracer has not made its no-ops yet.</param>
internal sealed class ArmingPlaces(KernelTarget target, NonStopMemory memory, ProgramTable programs, ArmedSites sites, bool isBeforeTracer)
{
    // arch/x86/include/asm/page_types.h, THREAD_SIZE: of a stack more than is ever in use.
    private const int StackSize = 16 << 10;

    // What ftrace_init writes over a call of __fentry__ (arch/x86/include/asm/nops.h).
    private static readonly ImmutableArray<byte> Nop64 = [0x0f, 0x1f, 0x44, 0x00, 0x00], Nop32 = [0x3e, 0x8d, 0x74, 0x26, 0x00];

    private readonly Dictionary<ulong, (SitePatch Patch, List<(Tracepoint Tracepoint, CodePlace Place)> Traced)> _places = [];
    private byte[]? _stack;

    /// <summary>Adds a place of a tracepoint.</summary>
    /// <param name="address">The function's entry, at run time.</param>
    /// <returns>Why it cannot be armed, in words for people; or null.</returns>
    public async ValueTask<string?> AddAsync(Tracepoint tracepoint, CodePlace place, ulong address, PlannedPlace plan, KernelModule? module, CancellationToken cancellationToken)
    {
        if (plan.Needs?.Condition is not null && programs.View is null)
        {
            return "the guest's memory cannot be mapped a second time, as its condition asks for";
        }

        var (program, trampoline) = programs.For(tracepoint.Request, plan.Needs?.Condition);
        var patch = address + (plan.Nop is { } nop ? nop.Patch - nop.Entry : (ulong)plan.Relocation!.PatchOffset);
        if (!_places.TryGetValue(patch, out var known))
        {
            var (made, whyNot) = plan.Relocation is { } relocation
                ? await MoveAsync(relocation, trampoline, address, module, cancellationToken)
                : (await OverNopAsync(address, patch, trampoline, module, cancellationToken), null);
            if (made is not { } sitePatch)
            {
                return whyNot;
            }

            var site = sitePatch.Site with { Program = program.Index, IsInit = plan.Nop?.IsInit ?? plan.IsInit };
            _places[patch] = known = (sitePatch with { Site = site }, []);
        }
        else if (known.Patch.Site.Program != program.Index)
        {
            // A function has room for one trampoline.
            return "another tracepoint has a trampoline there";
        }

        known.Traced.Add((tracepoint, place));
        return null;
    }

    /// <summary>Arms all that was added.</summary>
    /// <returns>The sites, whether their code was found changed by somebody else, and whose they are.</returns>
    public async ValueTask<IReadOnlyList<(NonStopSite Site, bool IsRefused, IReadOnlyList<(Tracepoint Tracepoint, CodePlace Place)> Traced)>> ArmAsync(CancellationToken cancellationToken)
    {
        var patches = _places.Values.Select(p => p.Patch with { Site = p.Patch.Site with { Tracepoints = [.. p.Traced.Select(t => t.Tracepoint)] } }).ToList();
        var refused = (await sites.ArmAsync(patches, cancellationToken)).Select(s => s.Patch).ToHashSet();
        return [.. _places.Values.Select(p => (p.Patch.Site, refused.Contains(p.Patch.Site.Patch), (IReadOnlyList<(Tracepoint, CodePlace)>)p.Traced))];
    }

    private async ValueTask<SitePatch> OverNopAsync(ulong entry, ulong patch, ulong trampoline, KernelModule? module, CancellationToken cancellationToken)
    {
        var original = target.Map.Image.Architecture.WordSize == 8 ? Nop64 : Nop32;
        if (isBeforeTracer)
        {
            // The call that a compiler has made, or another no-op: whatever is there comes back before the tracer looks.
            var compiled = new byte[original.Length];
            original = await target.Memory.TryReadAsync(patch, compiled, cancellationToken) ? [.. compiled] : original;
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
