using System.CommandLine;
using KTrace.Cli.Verbs;

namespace KTrace.Cli;

/// <summary>Every verb, in the order in which help lists them.</summary>
internal static class VerbTable
{
    /// <param name="Create">Makes the verb; what stood behind <c>--</c> on the command line is QEMU's and not ours to parse.</param>
    public sealed record Entry(string Name, Func<IReadOnlyList<string>, Command> Create);

    public static IReadOnlyList<Entry> All { get; } =
    [
        new("demo", _ => DemoVerb.Create()),
        new("record", RecordVerb.Create),
        new("tui", TuiVerb.Create),
        new("debug", DebugVerb.Create),
        new("attach", _ => AttachVerb.Create()),
        new("show", _ => ShowVerb.Create()),
        new("irqs", _ => IrqsVerb.Create()),
        new("diff", _ => DiffVerb.Create()),
        new("replay", _ => ReplayVerb.Create()),
        // Answered in Program.cs before the command line is parsed; here for the list of verbs.
        new("sym", _ => new Command("sym", "Name addresses: function, file and line, inlined calls first (ktrace sym --help).")),
        new("disas", _ => DisasVerb.Create()),
        new("type", _ => TypeVerb.Create()),
        new("kernel", _ => KernelVerb.Create()),
        new("initramfs", _ => InitramfsVerb.Create()),
        new("doctor", _ => DoctorVerb.Create()),
    ];

    public static Entry? Find(string name) => All.FirstOrDefault(v => v.Name == name);
}
