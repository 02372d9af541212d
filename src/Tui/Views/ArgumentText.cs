using System.Globalization;
using KTrace.Tracing;

namespace KTrace.Tui.Views;

/// <summary>
/// An argument as people write one: <c>irq=24</c>, <c>devname="eth0-rx-0"</c>, <c>data@entry=0xffff888006069028</c> (the value it was entered with; it may have another by now),
/// <c>mask=&lt;optimized out&gt;</c>.
/// </summary>
internal static class ArgumentText
{
    public static string Of(TraceArgument argument) =>
        $"{Name(argument)}={Value(argument)}{(argument.Provenance.StartsWith(ArgumentProvenance.Recovered, StringComparison.Ordinal) ? " (recovered)" : "")}";

    public static string Name(TraceArgument argument) => (argument.Name.Length == 0 ? "?" : argument.Name) + (argument is { IsAtEntry: true, IsKnown: true } ? "@entry" : "");

    public static string Value(TraceArgument argument) => argument switch
    {
        { Text: { } text } => text,
        { Value: { } value } => string.Create(CultureInfo.InvariantCulture, $"0x{value:x}"),
        _ => $"<{argument.Provenance}>",
    };

    /// <summary><c>msg-&gt;address_lo = 4276092928</c>, or why there is no value.</summary>
    public static string Of(TracePrint print) => print switch
    {
        { Error: { } error } when error.StartsWith(print.Expression, StringComparison.Ordinal) => error,
        { Error: { } error } => $"{print.Expression}: {error}",
        { Text: { } text } => $"{print.Expression} = {text}",
        { Value: { } value } => string.Create(CultureInfo.InvariantCulture, $"{print.Expression} = 0x{value:x}"),
        _ => print.Expression,
    };
}
