using System.Collections.Immutable;
using KTrace.Symbols.Unwind;

namespace KTrace.Tracing;

/// <summary>Decodes frame lines. The cursor stands at the line's start.</summary>
internal static class FrameParts
{
    private static readonly UnwindRule[] Rules = Enum.GetValues<UnwindRule>();
    private static readonly ImmutableArray<string> RuleWords = [.. Rules.Select(RecordWriter.Word)];

    public static (int Id, TraceFrame Frame) Frame(ref RecordJson json)
    {
        int? id = null;
        string? function = null, symbol = null, module = null, source = null;
        ulong offset = 0;
        int? line = null;
        bool inline = false, tailCall = false;
        UnwindRule? rule = null;
        while (json.NextProperty())
        {
            if (json.Is("id"u8))
            {
                id = json.Int32("id");
            }
            else if (json.Is("function"u8))
            {
                function = json.String("function");
            }
            else if (json.Is("module"u8))
            {
                module = json.OptionalString("module");
            }
            else if (json.Is("symbol"u8))
            {
                symbol = json.OptionalString("symbol");
            }
            else if (json.Is("offset"u8))
            {
                offset = json.UInt64("offset");
            }
            else if (json.Is("file"u8))
            {
                source = json.OptionalString("file");
            }
            else if (json.Is("line"u8))
            {
                line = json.Int32("line");
            }
            else if (json.Is("inline"u8))
            {
                inline = json.Boolean("inline");
            }
            else if (json.Is("tail_call"u8))
            {
                tailCall = json.Boolean("tail_call");
            }
            else if (json.Is("rule"u8))
            {
                int index = RuleWords.IndexOf(json.String("rule", RuleWords));
                rule = index < 0 ? null : Rules[index];
            }
            else
            {
                json.Skip();
            }
        }

        if (Math.Max(Math.Max(function?.Length ?? 0, symbol?.Length ?? 0), Math.Max(module?.Length ?? 0, source?.Length ?? 0)) > TraceFormat.MaxNameLength)
        {
            // A path may name one frame 4,096 times: names of megabytes would become gigabytes on the screen.
            throw json.Fail($"a name of more than {TraceFormat.MaxNameLength} characters");
        }

        if (inline && tailCall)
        {
            throw json.Fail("a frame that is inline and left by a tail call");
        }

        var frame = new TraceFrame(
            function ?? throw json.Fail("a frame without function"), offset, module, source, line, inline, rule, tailCall, symbol);
        return (id ?? throw json.Fail("a frame without id"), frame);
    }
}
