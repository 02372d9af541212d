using System.Reflection;

namespace KTrace.Cli;

/// <summary>What this program calls itself.</summary>
internal static class ToolVersion
{
    public static string Text { get; } = "ktrace " + (typeof(ToolVersion).Assembly.GetName().Version?.ToString(3) ?? "0");
}
