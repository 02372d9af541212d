using System.CommandLine;
using KTrace.Cli.Verbs;

namespace KTrace.Cli;

/// <summary>Every verb, in the order in which help lists them.</summary>
internal static class VerbTable
{
    public sealed record Entry(string Name, Func<Command> Create);

    public static IReadOnlyList<Entry> All { get; } =
    [
        new("show", ShowVerb.Create),
        new("diff", DiffVerb.Create),
    ];

    public static Entry? Find(string name) => All.FirstOrDefault(v => v.Name == name);
}
