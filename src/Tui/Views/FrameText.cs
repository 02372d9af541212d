using System.Globalization;
using KTrace.Symbols.Unwind;
using KTrace.Tracing;

namespace KTrace.Tui.Views;

/// <summary>How every view writes a frame: <c>request_irq [e1000e] (inline)</c>.</summary>
internal static class FrameText
{
    /// <summary>Function, module and the mark of a frame that is inline or was left by a tail call.</summary>
    public static TextLine Name(TraceFrame? frame, TextRole? role = null)
    {
        var line = new TextLine();
        if (frame is null)
        {
            return line.Add("-");
        }

        line.Add(frame.Function, role ?? TextRole.Function);
        if (frame.Module is { } module)
        {
            line.Add($" [{module}]", role ?? TextRole.Module);
        }

        return frame switch
        {
            { IsInline: true } => line.Add(" (inline)", role ?? TextRole.Inline),
            { IsTailCall: true } => line.Add(" (tail call)", role ?? TextRole.Inline),
            _ => line,
        };
    }

    public static string Number(int index) => string.Create(CultureInfo.InvariantCulture, $"#{index}");

    /// <summary>What found a frame, in few letters.</summary>
    public static string Rule(UnwindRule? rule) => rule switch
    {
        UnwindRule.Registers => "regs",
        UnwindRule.Cfi => "cfi",
        UnwindRule.Orc => "orc",
        UnwindRule.FramePointer => "fp",
        UnwindRule.SavedRegisters => "saved",
        _ => "",
    };
}
