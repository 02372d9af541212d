using KTrace.Debugger.NonStop.Guest;
using KTrace.Debugger.NonStop.Ring;
using KTrace.Debugger.NonStop.Sites;
using KTrace.Debugger.Tracepoints;

namespace KTrace.Debugger.NonStop.Trampolines;

/// <summary>
/// The programs that are in the guest, each made when the first tracepoint needs it. Tracepoints that ask for nothing special share one; what is counted (sample, first) is counted for each request, so that
/// "the first 100" of a set means the set.
/// </summary>
internal sealed class ProgramTable(KernelOffsets offsets, NonStopMemory memory, bool lossy)
{
    private readonly Dictionary<(bool Returns, string? Condition, TracepointRequest? Counted), (TrampolineProgram Program, ulong Address)> _programs = [];

    /// <summary>Code that an interrupt may come upon, in the order in which it came to be.</summary>
    public List<CodeBlock> Blocks { get; } = [];

    /// <summary>Where functions return to whose return is recorded; null: none is.</summary>
    public ReturnTrampoline? Returns { get; private set; }

    /// <summary>The entry trampoline of a tracepoint.</summary>
    /// <exception cref="TargetException">There are too many different ones.</exception>
    public (TrampolineProgram Program, ulong Address) For(ProgramNeeds needs)
    {
        var key = (needs.Returns, needs.Condition is { } condition ? string.Join('\n', condition.Steps) : null, needs.Request);
        if (_programs.TryGetValue(key, out var known))
        {
            return known;
        }

        if (_programs.Count == ControlBlock.MaximumPrograms)
        {
            throw new TargetException($"more than {ControlBlock.MaximumPrograms} different tracepoints without stops", "trace fewer functions with conditions of their own, or --stop");
        }

        if (needs.Returns && Returns is null)
        {
            Returns = ReturnTrampoline.Assemble(offsets, memory.Layout, lossy, memory.NextCode);
            Place(Returns.Code);
        }

        var program = needs.ToProgram(_programs.Count);
        var block = EntryTrampoline.Assemble(offsets, memory.Layout, program, lossy, memory.NextCode, Returns);
        Place(block);
        return _programs[key] = (program, block.Address);
    }

    private void Place(CodeBlock block)
    {
        memory.Place(block);
        Blocks.Add(block);
    }
}
