using System.Globalization;
using KTrace.Tracing;

namespace KTrace.Tui.Views;

/// <summary>An argument as people write one: <c>irq=24</c>, <c>devname="eth0-rx-0"</c>, <c>handler=&lt;e1000_intr_msix_rx&gt;</c>.</summary>
internal static class ArgumentText
{
    public static string Of(TraceArgument argument)
    {
        string name = argument.Name.Length == 0 ? "?" : argument.Name;
        return argument switch
        {
            { Text: { } text, Type: { } type } when IsCharacterPointer(type) => $"{name}=\"{text}\"",
            { Text: { } text } => $"{name}={text}",
            { Value: { } value } => string.Create(CultureInfo.InvariantCulture, $"{name}=0x{value:x}"),
            _ => $"{name}=<{argument.Provenance}>",
        };
    }

    private static bool IsCharacterPointer(string type) => type.EndsWith("char *", StringComparison.Ordinal);
}
