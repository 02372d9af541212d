using System.Collections.Immutable;
using KTrace.Debugger;
using KTrace.Debugger.Sessions;
using KTrace.Debugger.Values;
using KTrace.Symbols.Types;
using KTrace.Symbols.Values;
using KTrace.Tracing;
using KTrace.Tui.Commands;
using KTrace.Tui.Views;

namespace KTrace.Tui.Targets;

/// <summary>What a stopped machine shows of a frame: source, instructions, variables, watches; and what is below a value.</summary>
internal sealed class LiveInspection(DebugSession session)
{
    private const int MaximumMembers = 256;
    private const int MaximumRemembered = 4096;

    private readonly Dictionary<string, bool> _opens = [];
    private readonly Dictionary<string, string?> _before = [];
    private readonly HashSet<string> _changed = [];
    private long _stop = -1;

    public SourceTree Sources { get; set; } = new(null);

    /// <summary>A frame of the call path.</summary>
    /// <param name="stop">Number of the stop: values are compared with those of the stop before.</param>
    public async ValueTask<FrameSnapshot> FrameAsync(TraceRecord.Hit hit, int index, long stop, CancellationToken cancellationToken)
    {
        Begin(stop);
        var pc = AddressOf(hit, index);
        var code = pc is { } address ? await CodeListings.AtAsync(session, Sources, address, address, cancellationToken) : null;
        var rows = ImmutableArray.CreateBuilder<ValueRow>();
        var function = hit.Path.Frames[index].Function;
        rows.AddRange(hit.ArgumentsOf(index).Select(a => Row(a, function, isArgument: true)));
        try
        {
            rows.AddRange((await session.LocalsAsync(index, cancellationToken)).Select(l => Row(l, function, isArgument: false)));
        }
        catch (TargetException)
        {
            // A frame that has no code of its own (a tail call's) has no locals.
        }

        return HitFrames.Of(hit, index, Sources, code, rows.ToImmutable());
    }

    /// <summary>Before the kernel is up there are instructions alone.</summary>
    public async ValueTask<FrameSnapshot> WithoutKernelAsync(ulong pc, CancellationToken cancellationToken)
    {
        var location = await session.LocateAsync(cancellationToken);
        var code = location.CodeBits == session.Machine.Architecture.WordSize * 8 ? await CodeListings.AtAsync(session, Sources, pc, pc, cancellationToken) : null;
        return new FrameSnapshot(0, await PhaseText.OfAsync(session, cancellationToken), null, null, null, "the kernel is not up yet: continue until it is, or step by instructions", code, []);
    }

    public async ValueTask<ImmutableArray<ValueRow>> WatchAsync(IReadOnlyList<string> expressions, int frame, long stop, CancellationToken cancellationToken)
    {
        Begin(stop);
        var rows = ImmutableArray.CreateBuilder<ValueRow>(expressions.Count);
        foreach (var expression in expressions)
        {
            rows.Add(await WatchAsync(expression, frame, cancellationToken));
        }

        return rows.ToImmutable();
    }

    public async ValueTask<TargetNews.Expanded> ExpandAsync(string expression, int frame, CancellationToken cancellationToken)
    {
        OpenedValue opened;
        try
        {
            opened = await session.OpenAsync(expression, frame, MaximumMembers, cancellationToken);
        }
        catch (Exception e) when (Failures.Of(e) is { } failed)
        {
            return new TargetNews.Expanded(expression, [], failed.Message);
        }

        var inner = expression.All(c => char.IsLetterOrDigit(c) || c is '_' or '.' or '>' or '-' or '[' or ']' or '$') ? expression : $"({expression})";
        return new TargetNews.Expanded(
            expression,
            [.. opened.Members.Select(m => new ValueRow(m.Name, Path(inner, m.Name, opened.IsPointer), m.Type, m.Text, null, m.HasMembers))],
            opened.Failure ?? (opened.Members.IsEmpty ? "there is nothing below it" : null));
    }

    private static string Path(string expression, string member, bool isPointer) => member switch
    {
        "*" => $"(*{expression})",
        _ when member.StartsWith('[') => expression + member,
        _ => isPointer ? $"{expression}->{member}" : $"{expression}.{member}",
    };

    private static ulong? AddressOf(TraceRecord.Hit hit, int index)
    {
        // Functions that share an address have it once, on the innermost of them.
        ulong? address = null;
        var at = 0;
        foreach (var (frame, own) in hit.FramesWithAddresses())
        {
            address = own ?? (at > 0 && hit.Path.Frames[at - 1].IsInline ? address : null);
            if (at++ == index)
            {
                return address;
            }
        }

        return null;
    }

    private async ValueTask<ValueRow> WatchAsync(string expression, int frame, CancellationToken cancellationToken)
    {
        try
        {
            var print = await session.PrintAsync(expression, frame, cancellationToken);
            var row = HitFrames.Row(print);
            return row with { CanExpand = print.Error is null && Opens(print.Type, print.Value), Changed = HasChanged("watch " + expression, row.Text) };
        }
        catch (Exception e) when (Failures.Of(e) is { } failed)
        {
            return new ValueRow(expression, expression, null, null, null, CanExpand: false, failed.Message);
        }
    }

    private ValueRow Row(TraceArgument argument, string function, bool isArgument)
    {
        var row = HitFrames.Row(argument, isArgument);
        return row with { CanExpand = argument.IsKnown && Opens(argument.Type, argument.Value), Changed = HasChanged($"{function} {argument.Name}", row.Text) };
    }

    /// <summary>Whether a value of this type has something below it.</summary>
    private bool Opens(string? type, ulong? value)
    {
        if (type is null)
        {
            return false;
        }

        if (!_opens.TryGetValue(type, out var opens))
        {
            // Only pointers are told apart by their value.
            opens = TypeNameParser.Parse(type, session.Types, out _) is { } found && ValuePrinter.HasChildren(new TypedValue { Type = found });
            if (_opens.Count < MaximumRemembered)
            {
                _opens.Add(type, opens);
            }
        }

        return opens && value is not 0;
    }

    private void Begin(long stop)
    {
        if (stop != _stop)
        {
            _stop = stop;
            _changed.Clear();
            if (_before.Count > MaximumRemembered)
            {
                _before.Clear();
            }
        }
    }

    /// <summary>Whether a text is another than at the stop before; the same answer as often as it is asked at one stop.</summary>
    private bool HasChanged(string key, string? text)
    {
        if (_before.TryGetValue(key, out var before) && before != text)
        {
            _changed.Add(key);
        }

        _before[key] = text;
        return _changed.Contains(key);
    }
}
