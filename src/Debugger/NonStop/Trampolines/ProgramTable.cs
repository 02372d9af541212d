using KTrace.Debugger.NonStop.Guest;
using KTrace.Debugger.NonStop.Ring;
using KTrace.Debugger.Tracepoints;

namespace KTrace.Debugger.NonStop.Trampolines;

/// <summary>
/// The programs that are in the guest, each made when the first tracepoint needs it. Tracepoints that ask for nothing special share one; what is counted (sample, first) is counted for each request, so that
/// "the first 100" of a set means the set.
/// </summary>
internal sealed class ProgramTable(KernelOffsets offsets, NonStopMemory memory, int stackBytes, bool lossy, RequestCounts counts)
{
    private readonly Dictionary<(bool Returns, string? Condition, TracepointRequest? Counted), TrampolineProgram> _programs = [];

    // The first program of each request that counts.
    private readonly Dictionary<TracepointRequest, int> _counters = new(ReferenceEqualityComparer.Instance);

    // By program, and where its trampoline goes on.
    private readonly Dictionary<(int Program, ulong? Next), ulong> _trampolines = [];

    /// <summary>How conditions read memory; null: there can be none.</summary>
    public GuestView? View { get; set; }

    /// <summary>Code that an interrupt may come upon; grows.</summary>
    public List<CodeBlock> Blocks { get; } = [];

    /// <summary>Where functions return to whose return is recorded; null: none is.</summary>
    public ReturnTrampoline? Returns { get; private set; }

    /// <summary>What a tracepoint's trampoline does.</summary>
    /// <param name="condition">Of the request, for the function; null: it has none.</param>
    /// <exception cref="TargetException">There are too many different ones.</exception>
    public TrampolineProgram For(TracepointRequest request, CompiledCondition? condition)
    {
        var actions = request.Actions;
        var isCounted = RequestCounts.IsCounted(request);
        var key = (actions.Return is not null, condition is null ? null : string.Join('\n', condition.Steps), isCounted ? request : null);
        if (_programs.TryGetValue(key, out var known))
        {
            return known;
        }

        if (_programs.Count == ControlBlock.MaximumPrograms)
        {
            throw new TargetException($"more than {ControlBlock.MaximumPrograms} different tracepoints without stops", "trace fewer functions with conditions of their own, or --stop");
        }

        if (condition is { NeedsView: true } && View is null)
        {
            throw new TargetException("conditions cannot be asked without stops in this guest: its memory cannot be mapped a second time", "--stop, or no condition");
        }

        var (index, countsAt) = (_programs.Count, _programs.Count);
        if (isCounted && !_counters.TryGetValue(request, out countsAt))
        {
            // Functions whose parameters lie elsewhere have another program for the same condition.
            _counters[request] = countsAt = index;
            counts.Share(request, memory, countsAt);
        }

        return _programs[key] = new TrampolineProgram(index, stackBytes)
        {
            Condition = condition, Sample = actions.Sample, First = actions.First, CountsAt = countsAt, Returns = actions.Return is not null,
        };
    }

    /// <summary>The trampoline of functions that lead through these programs, in this order.</summary>
    /// <param name="programs">Not empty, each once.</param>
    /// <exception cref="TargetException">There is no room for its code.</exception>
    public ulong TrampolineOf(IEnumerable<TrampolineProgram> programs)
    {
        ulong? next = null;
        foreach (var program in programs.Reverse())
        {
            if (!_trampolines.TryGetValue((program.Index, next), out var address))
            {
                // Return stubs first: where the trampoline will lie is asked behind them.
                var returns = program.Returns ? RecordReturns() : null;
                var block = EntryTrampoline.Assemble(offsets, memory.Layout, program, lossy, memory.NextCode, returns, View, next);
                Place(block);
                _trampolines[(program.Index, next)] = address = block.Address;
            }

            next = address;
        }

        return next!.Value;
    }

    /// <summary>Makes the code that returns pass through, unless it is there.</summary>
    public ReturnTrampoline RecordReturns()
    {
        if (Returns is null)
        {
            Returns = ReturnTrampoline.Assemble(offsets, memory.Layout, lossy, memory.NextCode);
            Place(Returns.Code);
        }

        return Returns;
    }

    /// <summary>Conditions that could not be asked at some calls, as memory that they need could not be read, and at how many.</summary>
    public IEnumerable<(CompiledCondition Condition, long Calls)> Unreadable() =>
        from program in _programs.Values
        where program.Condition is not null
        let calls = (long)memory.Counter(ControlBlock.Programs + (program.Index * ControlBlock.ProgramStride) + ControlBlock.ProgramUnreadable)
        where calls > 0
        group calls by program.Condition!.Text into same
        select (_programs.Values.First(p => p.Condition?.Text == same.Key).Condition!, same.Sum());

    private void Place(CodeBlock block)
    {
        memory.Place(block);
        Blocks.Add(block);
    }
}
