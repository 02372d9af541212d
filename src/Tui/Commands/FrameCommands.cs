using System.Globalization;
using KTrace.Symbols.Types;
using KTrace.Symbols.Values.Expressions;
using KTrace.Tracing;
using KTrace.Tui.Views;

namespace KTrace.Tui.Commands;

/// <summary><c>backtrace</c>, <c>frame</c>, <c>print</c>, <c>list</c>, <c>ptype</c>: what is asked of a call path and its values.</summary>
internal sealed class FrameCommands(CommandContext context)
{
    private const int ListedLines = 10;

    public async ValueTask ExecuteAsync(DebuggerCommand command, CancellationToken cancellationToken)
    {
        switch (command)
        {
            case DebuggerCommand.Backtrace { Count: var count, WithLocals: var isFull }:
                await BacktraceAsync(count, isFull, cancellationToken);
                break;
            case DebuggerCommand.Frame { Index: var index, IsRelative: var isRelative }:
                var chosen = await context.FrameAsync(cancellationToken);
                await context.SelectFrameAsync(isRelative ? chosen + index!.Value : index ?? chosen, isRelative, cancellationToken);
                await ShowFrameAsync(cancellationToken);
                break;
            case DebuggerCommand.SelectCpu { Cpu: var cpu }:
                await context.Session.SelectCpuAsync(cpu ?? context.Session.Cpu, cancellationToken);
                await ShowFrameAsync(cancellationToken);
                break;
            case DebuggerCommand.Print { Expression: var expression, Format: var format }:
                await PrintAsync(expression, format, "", cancellationToken);
                break;
            case DebuggerCommand.List { Place: var place }:
                await ListAsync(place, cancellationToken);
                break;
            case DebuggerCommand.Type { Name: var name }:
                await ShowTypeAsync(name, cancellationToken);
                break;
        }
    }

    /// <summary>The locals of the chosen frame.</summary>
    public async ValueTask LocalsAsync(int frame, int indent, CancellationToken cancellationToken)
    {
        var locals = await context.Session.LocalsAsync(frame, cancellationToken);
        IEnumerable<TextLine> lines = locals.IsEmpty
            ? [new TextLine().PadTo(indent).Add("no locals")]
            : locals.Select(l => new TextLine().PadTo(indent).Add($"{ArgumentText.Name(l)} = {ArgumentText.Value(l)}", TextRole.Value));
        context.Output.Write(new LinesView([.. lines]));
    }

    public async ValueTask ShowFrameAsync(CancellationToken cancellationToken)
    {
        var path = await context.CallPathAsync(cancellationToken);
        if (path.Path.Frames.Length == 0)
        {
            context.Say(path.PathEnd.Describe(path.Task), TextRole.Reason);
            return;
        }

        var frame = context.Frame;
        context.Output.Write(new LinesView([.. SessionStopView.FrameLine(frame, path.Path.Frames[frame], path.ArgumentsOf(frame), null)]));
    }

    private async ValueTask BacktraceAsync(int? count, bool isFull, CancellationToken cancellationToken)
    {
        var path = await context.CallPathAsync(cancellationToken);
        var shown = Math.Min(count ?? path.Path.Frames.Length, path.Path.Frames.Length);
        for (var i = 0; i < shown; i++)
        {
            context.Output.Write(new LinesView([.. SessionStopView.FrameLine(i, path.Path.Frames[i], path.ArgumentsOf(i), null)]));
            if (isFull)
            {
                await LocalsAsync(i, 6, cancellationToken);
            }
        }

        context.Say(
            shown < path.Path.Frames.Length ? string.Create(CultureInfo.InvariantCulture, $"({path.Path.Frames.Length - shown} more)") : "    " + path.PathEnd.Describe(path.Task), TextRole.Reason);
    }

    /// <param name="label">Stands in front.</param>
    public async ValueTask PrintAsync(string expression, char? format, string label, CancellationToken cancellationToken)
    {
        var frame = await context.FrameAsync(cancellationToken);
        if (format is { } letter && await context.Session.EvaluateAsync(expression, frame, cancellationToken) is ExpressionOutcome.Value { Result: { Number: { } number, Type.Size: var size } })
        {
            // Without the zeros in front, which `x` shows: a number here is as wide as its type.
            var text = letter == 'x' ? string.Create(CultureInfo.InvariantCulture, $"0x{(ulong)number & (ulong.MaxValue >> (64 - (8 * (int)Math.Clamp(size, 1, 8)))):x}") : NumberText.Of((ulong)number, 8, letter);
            context.Say($"{label}{expression} = {text}", TextRole.Value);
            return;
        }

        var print = await context.Session.PrintAsync(expression, frame, cancellationToken);
        context.Say(label + ArgumentText.Of(print), print.Error is null ? TextRole.Value : TextRole.Warning);
    }

    private async ValueTask ListAsync(string? place, CancellationToken cancellationToken)
    {
        var path = await context.CallPathAsync(cancellationToken);
        var (file, line) = place?.LastIndexOf(':') is { } colon and > 0 && int.TryParse(place.AsSpan(colon + 1), NumberStyles.None, CultureInfo.InvariantCulture, out var given)
            ? (place[..colon], given)
            : path.Path.Frames.Length > 0 && path.Path.Frames[context.Frame] is { File: { } own, Line: { } at } ? (own, at) : ("", 0);
        if (context.Sources.Lines(file) is not { } lines)
        {
            context.Say(context.Sources.IsKnown ? $"{(file.Length == 0 ? "this frame" : file)} has no source here" : $"no source here: --source DIR names a kernel source tree{(file.Length == 0 ? "" : $" with {file}")}", TextRole.Warning);
            return;
        }

        var first = Math.Max(1, line - (ListedLines / 2));
        var last = Math.Min(lines.Count, first + ListedLines - 1);
        context.Output.Write(new LinesView([.. Enumerable.Range(first, Math.Max(0, last - first + 1)).Select(n => new TextLine()
            .Add(n == line ? "→" : " ").Add(string.Create(CultureInfo.InvariantCulture, $"{n,6}"), TextRole.Number).Add("  ")
            .Add(Untabbed(lines[n - 1])))]));
    }

    /// <summary>Of a type, of a variable or function, or of what an expression is in the chosen frame.</summary>
    private async ValueTask ShowTypeAsync(string name, CancellationToken cancellationToken)
    {
        var types = context.Session.Types;
        var type = TypeNameParser.Parse(name, types, out var error);
        var text = type is not null ? TypeListing.Of(type, n => n)
            : (types.FindVariable(name) ?? types.FindFunction(name)) is { } variable ? TypeListing.Declare(variable, n => n) + ";\n"
            : TypeListing.Of((await TypeOfAsync(name, cancellationToken)) ?? throw new Debugger.TargetException(error, null), n => n);
        context.Output.Write(new LinesView([.. text.TrimEnd('\n').Split('\n').Select(l => new TextLine().Add(Untabbed(l)))]));
    }

    private async ValueTask<CType?> TypeOfAsync(string expression, CancellationToken cancellationToken)
    {
        try
        {
            return context.Session.Map is not null
                && await context.Session.EvaluateAsync(expression, await context.FrameAsync(cancellationToken), cancellationToken) is ExpressionOutcome.Value { Result.Type: var type } ? type : null;
        }
        catch (ExpressionSyntaxException)
        {
            // Then it was meant as a type's name, and what is wrong with that is known.
            return null;
        }
    }

    private static string Untabbed(string line) => line.Replace("\t", "        ", StringComparison.Ordinal);
}
