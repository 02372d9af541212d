using System.Globalization;
using KTrace.Tracing;

namespace KTrace.Tui.Views;

/// <summary>What a <see cref="CallPathView"/> shows besides functions and source lines.</summary>
/// <param name="Addresses">The pc of each physical frame, and offsets.</param>
/// <param name="Rules">What found each frame.</param>
/// <param name="Registers">The hit's registers, below the path.</param>
/// <param name="Arguments">How much of each frame's arguments.</param>
public sealed record CallPathOptions(
    bool Addresses = false, bool Rules = false, bool Registers = false, ArgumentDetail Arguments = ArgumentDetail.Values);

public enum ArgumentDetail
{
    None,

    /// <summary>Names and values, as many on a line as it takes.</summary>
    Values,

    /// <summary>A line for each, with its type and how its value is known.</summary>
    Provenance,
}

/// <summary>One hit: who, when, and the whole call path, innermost first, down to the reason why it ends.</summary>
/// <param name="returned">What was recorded when the function returned, or null.</param>
public sealed class CallPathView(
    TraceRecord.Hit hit, TraceRecord.Header header, TracepointTable tracepoints, CallPathOptions? options = null, TraceRecord.Return? returned = null)
    : View
{
    private const int Gap = 2;

    // The shortest source that still says something: …/netdev.c:2147.
    private const int SourceMinimum = 18;

    private readonly CallPathOptions _options = options ?? new CallPathOptions();

    public override IEnumerable<TextLine> Lines(int? width)
    {
        yield return Title();
        if (hit.Context is { Words.Length: > 0 } context)
        {
            foreach (TextLine line in new TextLine().PadTo(2).Add(context.Flags, TextRole.Value).Add("  ").Wrap(context.Words, TextRole.Reason, width))
            {
                yield return line;
            }
        }

        foreach (TextLine line in PrintLines(hit.Prints, returned, 2, width))
        {
            yield return line;
        }

        (TextLine Name, ulong? Pc, TraceFrame Frame)[] frames =
            [.. hit.FramesWithAddresses().Select(entry => (Name(entry.Frame), entry.Address, entry.Frame))];
        int numbers = FrameText.Number(Math.Max(frames.Length - 1, 0)).Length;
        int nameStart = 1 + numbers + Gap + (_options.Addresses ? AddressWidth() + Gap : 0) + (_options.Rules ? 5 + Gap : 0);
        int names = frames.Length == 0 ? 0 : frames.Max(frame => frame.Name.Width);
        int sources = frames.Length == 0 ? 0 : frames.Max(frame => TerminalText.Width(HitTable.Place(frame.Frame)));
        if (width is { } cells && nameStart + names + Gap + sources > cells)
        {
            // The functions are what is asked for; the sources take what they leave.
            names = Math.Min(names, Math.Max(0, cells - nameStart - Gap - SourceMinimum));
        }

        for (int i = 0; i < frames.Length; i++)
        {
            (TextLine name, ulong? pc, TraceFrame frame) = frames[i];
            string number = FrameText.Number(i);
            TextLine line = new TextLine().PadTo(1 + numbers - number.Length).Add(number, TextRole.Number).PadTo(1 + numbers + Gap);
            if (_options.Addresses)
            {
                line.Add(pc is { } value ? Address(value) : "", TextRole.Number)
                    .PadTo(1 + numbers + Gap + AddressWidth() + Gap);
            }

            if (_options.Rules)
            {
                line.Add(FrameText.Rule(frame.Rule), TextRole.Number);
            }

            line.PadTo(nameStart).Add(width is null ? name : name.Fit(names));
            if (frame.File is not null)
            {
                int start = nameStart + names + Gap;
                line.PadTo(start).Add(
                    width is null ? HitTable.Place(frame) : TerminalText.KeepEnd(HitTable.Place(frame), width.Value - start), TextRole.Source);
            }

            yield return line;
            foreach (TextLine argument in ArgumentLines(hit.ArgumentsOf(i), nameStart + Gap, width))
            {
                yield return argument;
            }
        }

        foreach (TextLine line in new TextLine().PadTo(1 + numbers + Gap).Wrap(hit.PathEnd.Describe(hit.Task), TextRole.Reason, width))
        {
            yield return line;
        }

        if (_options.Registers && !hit.Registers.IsDefaultOrEmpty)
        {
            yield return new TextLine();
            foreach (TextLine line in RegisterLines(width))
            {
                yield return line;
            }
        }
    }

    /// <summary>What a hit printed, and what it printed when its function returned.</summary>
    internal static IEnumerable<TextLine> PrintLines(IEnumerable<TracePrint> prints, TraceRecord.Return? returned, int start, int? width)
    {
        foreach ((TracePrint print, string before) in prints.Select(p => (p, "")).Concat((returned?.Prints ?? []).Select(p => (p, "returned "))))
        {
            foreach (TextLine line in new TextLine().PadTo(start).Wrap(before + ArgumentText.Of(print), print.Error is null ? TextRole.Value : TextRole.Warning, width))
            {
                yield return line;
            }
        }
    }

    private IEnumerable<TextLine> ArgumentLines(ArgumentList arguments, int start, int? width)
    {
        if (arguments.Count == 0 || _options.Arguments == ArgumentDetail.None)
        {
            return [];
        }

        return _options.Arguments == ArgumentDetail.Values
            ? new TextLine().PadTo(start).Wrap(string.Join(", ", arguments.Select(ArgumentText.Of)), TextRole.Value, width)
            : arguments.SelectMany(a => new TextLine().PadTo(start).Wrap(
                $"{(a.Type is null ? "" : a.Type + (a.Type.EndsWith('*') ? "" : " "))}{ArgumentText.Name(a)} = {ArgumentText.Value(a)}{(a.IsKnown ? ", " + a.Provenance : "")}", TextRole.Value, width));
    }

    private TextLine Title()
    {
        TextLine line = new TextLine()
            .Add(string.Create(CultureInfo.InvariantCulture, $"hit {hit.Sequence}"), TextRole.Heading)
            .Add("  ").Add(tracepoints.Place(hit.Tracepoint), TextRole.Heading)
            .Add(string.Create(CultureInfo.InvariantCulture, $"  cpu {hit.Cpu}"));
        if (hit.Task is { } task)
        {
            line.Add("  ").Add(task.ToString()).Add(task.IsKernelThread && task.Pid != 0 ? " (kernel)" : "");
        }

        if (hit.Clock is { } clock && HitTable.Time(clock, header) is not "-" and var time)
        {
            line.Add("  ").Add(clock.Seconds(header.JiffiesPerSecond) is null ? time : time + " s");
        }

        return line;
    }

    private TextLine Name(TraceFrame frame)
    {
        TextLine line = FrameText.Name(frame);
        return _options.Addresses && !frame.IsInline ? line.Add($" +{TraceHex.Format(frame.Offset)}", TextRole.Number) : line;
    }

    private int AddressWidth() => 2 + (2 * WordSize());

    private int WordSize() => Symbols.Arch.Architecture.ForName(header.Arch)?.WordSize ?? 8;

    private string Address(ulong value) => $"0x{value.ToString(WordSize() == 4 ? "x8" : "x16", CultureInfo.InvariantCulture)}";

    private IEnumerable<TextLine> RegisterLines(int? width)
    {
        int names = hit.Registers.Max(register => TerminalText.Width(TerminalText.Sanitize(register.Name)));
        int cell = names + 1 + AddressWidth();
        int perLine = width is { } cells ? Math.Max(1, (cells - 1) / (cell + Gap)) : 1;
        // Down the columns, as people read lists: rax rbx rcx below each other.
        int rows = (hit.Registers.Length + perLine - 1) / perLine;
        for (int row = 0; row < rows; row++)
        {
            var line = new TextLine();
            for (int column = 0; column < perLine && (column * rows) + row < hit.Registers.Length; column++)
            {
                TraceRegister register = hit.Registers[(column * rows) + row];
                int start = 1 + (column * (cell + Gap));
                line.PadTo(start).Add(register.Name, TextRole.Number).PadTo(start + names + 1).Add(Address(register.Value));
            }

            yield return line;
        }
    }
}
