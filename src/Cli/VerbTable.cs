using System.CommandLine;
using KTrace.Cli.Verbs;

namespace KTrace.Cli;

/// <summary>Every verb, in the order in which help lists them.</summary>
internal static class VerbTable
{
    public sealed record Entry(string Name, Func<Command> Create);

    public static IReadOnlyList<Entry> All { get; } =
    [
        new("demo", DemoVerb.Create),
        new("record", RecordVerb.Create),
        new("show", ShowVerb.Create),
        new("diff", DiffVerb.Create),
        new("replay", ReplayVerb.Create),
        new("sym", SymVerb.Create),
        new("kernel", KernelVerb.Create),
        new("initramfs", InitramfsVerb.Create),
        new("doctor", DoctorVerb.Create),
    ];

    public static Entry? Find(string name) => All.FirstOrDefault(v => v.Name == name);
}
