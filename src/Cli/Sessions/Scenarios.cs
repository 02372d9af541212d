using KTrace.Boot;
using KTrace.Boot.Scenarios;

namespace KTrace.Cli.Sessions;

/// <summary>Scenario files by path, and KTrace's own by name. The program carries scenarios/ and traces/ beside it.</summary>
internal static class Scenarios
{
    private static string OwnFolder => Path.Combine(AppContext.BaseDirectory, "scenarios");

    /// <exception cref="BootException">No such scenario, or one that is wrong (with line and column).</exception>
    public static Scenario Read(string nameOrPath)
    {
        if (File.Exists(nameOrPath))
        {
            return ScenarioReader.ReadFile(nameOrPath);
        }

        var own = Path.Combine(OwnFolder, nameOrPath + ".yaml");
        return nameOrPath.IndexOf('/') < 0 && File.Exists(own)
            ? ScenarioReader.ReadFile(own)
            : throw new BootException($"{nameOrPath}: there is no such scenario", $"a YAML file, or one of: {string.Join(", ", OwnNames())}");
    }

    /// <summary>A trace that comes with KTrace.</summary>
    public static string OwnTrace(string name) => Path.Combine(AppContext.BaseDirectory, "traces", name);

    private static IEnumerable<string> OwnNames() => Directory.Exists(OwnFolder)
        ? Directory.EnumerateFiles(OwnFolder, "*.yaml").Select(f => Path.GetFileNameWithoutExtension(f)).Order(StringComparer.Ordinal)
        : [];
}
