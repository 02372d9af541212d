using System.CommandLine;
using KTrace.Boot.Scenarios;

namespace KTrace.Cli.Verbs;

/// <summary><c>--timeout</c>, written as in a scenario: 90, 90s, 5m.</summary>
internal static class TimeoutOption
{
    /// <returns>Its value in seconds.</returns>
    public static Option<double?> Create(string description) => new("--timeout")
    {
        HelpName = "TIME",
        Description = description + ": 90, 90s, 5m",
        CustomParser = result =>
        {
            var seconds = ScenarioReader.TryParseSeconds(result.Tokens[0].Value);
            if (seconds is null)
            {
                result.AddError($"--timeout is such as 30s or 5m, not '{result.Tokens[0].Value}'");
            }

            return seconds;
        },
    };
}
