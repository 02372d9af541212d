// step, next and until: gdb 13's rules (gdb/infrun.c: process_event_stop_test, gdb/infcmd.c: prepare_one_step, until_next_command), where "frame" is an activation of a function or of an
// inlined call in it. In words: go on while the pc is in the range of the line; a call is passed, or entered where its function has lines; a return goes on to the end of the
// statement in the caller; stop where a row of the line table begins another line. What differs from gdb, and why: docs/decisions.md, "Stepping".
using KTrace.Symbols.Lookup;

namespace KTrace.Debugger.Stepping;

/// <summary>One step over source lines.</summary>
/// <param name="isOver">Calls and inlined calls are passed.</param>
internal sealed class LineStep(Walker walker, bool isOver)
{
    private ulong _start, _end;
    private string? _file;
    private int _line;
    private CodeLevel _level;
    private bool _isElsewhere;

    // No place: the step is not done.
    private const int GoOn = -1;

    // So many instructions of one function are a loop, or a CPU that waits for another one, which stands still while this one is stepped.
    private const int ManyHops = 256;

    /// <summary>Steps from the line at which a person stands.</summary>
    /// <param name="skipped">Inlined calls that begin here and are not entered yet.</param>
    /// <param name="untilBehind">Never back to what is before this line in its function (<c>until</c>).</param>
    /// <returns>How many inlined calls begin at the new place and are not entered yet; null when something else came first (<see cref="Walker.Stop"/>).</returns>
    public async ValueTask<int?> RunAsync(int skipped, bool untilBehind, CancellationToken cancellationToken) =>
        Begin(skipped, untilBehind)
            ? await GoOnAsync(cancellationToken)
            // No symbol covers this code: an instruction is all that can be told.
            : await OneInstructionAsync(cancellationToken);

    /// <summary>Steps out of an inlined call: to where a statement begins in the function that it was inlined into.</summary>
    /// <param name="outer">That function.</param>
    /// <param name="isInside">The CPU stands in the inlined call for certain, even where it begins: the pc alone says there that it is about to be entered.</param>
    public async ValueTask<int?> LeaveAsync(CodeLevel outer, bool isInside, CancellationToken cancellationToken)
    {
        (_level, _file, _line, _start, _end, _isElsewhere) = (outer, null, 0, walker.Pc, walker.Pc, false);
        return (isInside ? null : Judge()) ?? await GoOnAsync(cancellationToken);
    }

    private async ValueTask<int?> GoOnAsync(CancellationToken cancellationToken)
    {
        var many = ManyHops;
        for (var hops = 0; ; hops++)
        {
            IReadOnlyList<ulong>? exits = null;
            if (hops >= many && walker.Code is { } code)
            {
                exits = await LoopExits.FindAsync(walker, pc => IsInside(code, pc), isOver, cancellationToken);

                // What has too many ways out now will have them for a while.
                (hops, many) = (0, exits is null ? many * 2 : ManyHops);
            }

            if (exits is not null)
            {
                if (!await walker.RunToAsync(exits, walker.SameActivation(), cancellationToken))
                {
                    return null;
                }
            }
            else
            {
                var hop = await walker.HopAsync(cancellationToken);
                var place = hop.Kind switch
                {
                    HopKind.Interrupted => (int?)null,
                    HopKind.Trapped => 0,
                    HopKind.Called or HopKind.Left => await EnterAsync(hop, cancellationToken),
                    HopKind.Returned or HopKind.ChangedMode => Elsewhere(),
                    _ => GoOn,
                };
                if (place != GoOn)
                {
                    return place;
                }
            }

            hops = _isElsewhere ? 0 : hops;
            if (Judge() is { } arrived)
            {
                return arrived;
            }
        }
    }

    /// <summary>The step surely goes on there, whatever the way that led there.</summary>
    private bool IsInside(StepCode code, ulong pc)
    {
        if (pc >= _start && pc < _end)
        {
            return true;
        }

        var levels = code.Levels.LevelsAt(pc);
        var skipped = levels.TakeWhile(l => l.BeginsHere).Count();
        var level = levels[skipped];
        if (level.Identity != _level.Identity)
        {
            return isOver && levels.Skip(skipped + 1).Any(l => l.Identity == _level.Identity);
        }

        return skipped > 0 ? isOver && level.Line == _line && level.File == _file : code.Levels.LineAt(pc) is { } row && row.IsSameLine(_file, _line);
    }

    private int Elsewhere()
    {
        _isElsewhere = true;
        return GoOn;
    }

    private bool Begin(int skipped, bool untilBehind)
    {
        if (walker.Code is not { } code)
        {
            return false;
        }

        var levels = code.Levels.LevelsAt(walker.Pc);
        _level = levels[Math.Min(skipped, levels.Count - 1)];
        (_file, _line, _isElsewhere) = (_level.File, _level.Line, false);
        if (code.Levels.LineAt(walker.Pc) is { } row)
        {
            (_start, _end) = (row.Start, row.End);
            if (untilBehind && code.Levels.FunctionAround(walker.Pc) is { } whole && whole.Start < row.Start)
            {
                _start = whole.Start;
            }

            return true;
        }

        if (code.Levels.FunctionAround(walker.Pc) is not { } function)
        {
            return false;
        }

        (_start, _end) = function;
        return true;
    }

    private async ValueTask<int?> OneInstructionAsync(CancellationToken cancellationToken)
    {
        var hop = await walker.HopAsync(cancellationToken);
        if (hop.Kind == HopKind.Called && isOver)
        {
            return await walker.PassAsync(hop, cancellationToken) ? 0 : null;
        }

        return hop.Kind == HopKind.Interrupted ? null : 0;
    }

    /// <summary>At the entry of what was called or jumped to: stay, or run to where it returns.</summary>
    private async ValueTask<int?> EnterAsync(Hop hop, CancellationToken cancellationToken)
    {
        var isCall = hop.Kind == HopKind.Called;
        if (!isOver && walker.Code is { } code && !code.IsFiller(walker.Pc) && code.Levels.LineAt(walker.Pc) is not null)
        {
            return code.Levels.BeginningAt(walker.Pc);
        }

        if (isCall)
        {
            return await walker.PassAsync(hop, cancellationToken) ? GoOn : null;
        }

        if (await walker.PassTailCallAsync(cancellationToken))
        {
            return Elsewhere();
        }

        return walker.Stop is null ? walker.Code?.Levels.BeginningAt(walker.Pc) ?? 0 : null;
    }

    /// <summary>Null: the step goes on.</summary>
    private int? Judge()
    {
        var pc = walker.Pc;
        if (!_isElsewhere && pc >= _start && pc < _end)
        {
            return null;
        }

        if (walker.Code?.Levels is not { } source || source.LineAt(pc) is not { } row)
        {
            return 0;
        }

        var levels = source.LevelsAt(pc);
        var skipped = levels.TakeWhile(l => l.BeginsHere).Count();
        var level = levels[skipped];
        var isSameLevel = !_isElsewhere && level.Identity == _level.Identity;
        if (isSameLevel && skipped > 0)
        {
            // Before an inlined call: one on the line that is stepped is entered at once, or passed; any other is a new line.
            var isSameLine = level.Line == _line && level.File == _file;
            return isSameLine ? isOver ? null : skipped - 1 : skipped;
        }

        if (!_isElsewhere && !isSameLevel && levels.Skip(skipped + 1).Any(l => l.Identity == _level.Identity))
        {
            // In the middle of a call that was inlined.
            return isOver ? null : skipped;
        }

        (_start, _end) = (row.Start, row.End);
        if (pc != row.Start || row.IsSameLine(_file, _line))
        {
            // In the middle of a line, as behind a return or a jump (for (;;) jumps so): on to its end, wherever it is.
            (_file, _line, _level, _isElsewhere) = (row.File, row.Line, level, false);
        }
        else if (row.IsStatement)
        {
            return skipped;
        }
        else if (!isSameLevel)
        {
            // Code of a line that does not begin here, in another function: where that line does begin, it is new all the same.
            (_file, _line, _level, _isElsewhere) = (null, 0, level, false);
        }

        return null;
    }
}
