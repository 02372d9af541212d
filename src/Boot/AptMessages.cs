// What apt-get says when it fails (apt 2.6 and 2.7, LC_ALL=C), sorted into causes. apt has one exit code for all of them: 100.
namespace KTrace.Boot;

/// <summary>Reads apt's error output.</summary>
internal static class AptMessages
{
    private static readonly string[] Network =
    [
        "Temporary failure resolving", "Could not resolve", "Could not connect", "Unable to connect", "Cannot initiate the connection", "Connection failed",
        "Connection timed out", "connection timed out", "Network is unreachable", "No route to host", "Connection refused", "Something wicked happened resolving",
        "Failed to fetch",
    ];

    /// <summary>The archive could not be reached at all.</summary>
    public static bool IsNetwork(string errors) => !IsOutdated(errors) && Network.Any(text => errors.Contains(text, StringComparison.Ordinal));

    /// <summary>The package lists name files that the archive has replaced: updating them helps.</summary>
    public static bool IsOutdated(string errors) =>
        errors.Contains("404 ", StringComparison.Ordinal) || errors.Contains("Hash Sum mismatch", StringComparison.Ordinal);

    public static BootException ToException(string message, ToolResult result, string? remedy)
    {
        if (IsNetwork(result.Errors))
        {
            return new BootException($"{message}: the package archive cannot be reached ({FirstNetworkError(result.Errors)})", "check the network connection and the proxy settings")
            {
                IsNetwork = true,
            };
        }

        return new BootException($"{message}: {FirstError(result.Errors)}", remedy);
    }

    private static string FirstNetworkError(string errors)
    {
        var line = errors.Split('\n').FirstOrDefault(line => Network.Any(text => line.Contains(text, StringComparison.Ordinal)));
        return FirstError(line is null ? errors : line.Trim().TrimStart('W', 'E', ':', ' '));
    }

    /// <summary>The first line that apt marks as an error, without its mark.</summary>
    public static string FirstError(string errors)
    {
        var lines = errors.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        var line = lines.FirstOrDefault(line => line.StartsWith("E: ", StringComparison.Ordinal)) ?? lines.LastOrDefault() ?? "it gave no reason";
        line = line.StartsWith("E: ", StringComparison.Ordinal) ? line[3..] : line;
        return line.Length > 300 ? line[..300] + "…" : line;
    }
}
