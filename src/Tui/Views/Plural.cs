using System.Globalization;

namespace KTrace.Tui.Views;

/// <summary>Counts in English.</summary>
public static class Plural
{
    /// <summary><c>1 hit</c>, <c>2 hits</c>.</summary>
    public static string Of(long count, string noun) => string.Create(CultureInfo.InvariantCulture, $"{count} {noun}{(count == 1 ? "" : "s")}");
}
