// ktrace disas: the instructions of a function, with source lines between and names for branch targets. No target is needed.
using System.CommandLine;
using System.Globalization;
using KTrace.Boot;
using KTrace.Symbols;
using KTrace.Symbols.Disassembly;
using KTrace.Symbols.Elf;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Lookup;
using KTrace.Tui.Views;

namespace KTrace.Cli.Verbs;

internal static class DisasVerb
{
    // An assembly label may have no size; and no function of the kernel is longer.
    private const ulong UnknownSize = 64;
    private const ulong MaximumSize = 1 << 20;

    public static Command Create()
    {
        var what = new Argument<string>("what") { HelpName = "FUNCTION|0xADDRESS", Description = "A function by name, or any address inside one" };
        var vmlinux = new Option<string>("--vmlinux") { HelpName = "FILE", Description = "The vmlinux", Required = true };
        var command = new Command(
            "disas",
            """
            Disassemble a function of a vmlinux, with its source lines.

            Example:
              ktrace disas --vmlinux vmlinux request_threaded_irq
            """)
        {
            what, vmlinux,
        };
        command.SetAction(result => Run(result.GetRequiredValue(what), result.GetRequiredValue(vmlinux)));
        return command;
    }

    private static int Run(string what, string vmlinux)
    {
        var image = KernelImage.Open(vmlinux);
        var symbol = Find(image, what);
        var size = symbol.Size == 0 ? UnknownSize : Math.Min(symbol.Size, MaximumSize);
        var code = new byte[size];
        if (!image.TryRead(symbol.Value, code))
        {
            throw new BootException($"{vmlinux} has no code at {symbol.Name}", "a debug file without code? use the vmlinux itself");
        }

        Console.Out.WriteLine($"{TerminalText.Sanitize(symbol.Name)}:");
        SourceLine? last = null;
        foreach (var instruction in Disassembler.Disassemble(image.Architecture, code, symbol.Value))
        {
            var source = image.Symbolizer.Symbolize(instruction.Address)[0].Source;
            if (source is not null && source != last)
            {
                Console.Out.WriteLine(TerminalText.Sanitize(string.Create(CultureInfo.InvariantCulture, $"{image.ShortPath(source.File)}:{source.Line}")));
                last = source;
            }

            var bytes = string.Join(' ', instruction.Bytes.Select(b => b.ToString("x2", CultureInfo.InvariantCulture)));
            var target = instruction.Target is { } to ? NameOf(image, to) : "";
            Console.Out.WriteLine($"  {instruction.Address:x}  <+{instruction.Address - symbol.Value}>".PadRight(28) + $"{bytes,-30} {instruction.Text}{target}");
        }

        return CommandRunner.Success;
    }

    private static ElfSymbol Find(KernelImage image, string what)
    {
        if (what.StartsWith("0x", StringComparison.OrdinalIgnoreCase))
        {
            return ulong.TryParse(what.AsSpan(2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var address) && image.Symbols.TryFindNearest(address, out ElfSymbol symbol)
                ? symbol
                : throw new BootException($"{what} lies in no function of {image.File.Path}");
        }

        if (image.TryFindSymbol(what, out var named))
        {
            return named;
        }

        // A static function of a file, the only copy that the compiler made of one, a line: what has one place.
        var lookup = new FunctionLookup(image.Symbolizer, image.ShortPath);
        var (file, name) = what.LastIndexOf(':') is var colon and > 0 && SourceFileName.IsSourceFile(what[..colon]) ? (what[..colon], what[(colon + 1)..]) : (null, what);
        var places = file is not null && int.TryParse(name, NumberStyles.None, CultureInfo.InvariantCulture, out var line)
            ? lookup.FindLine(file, line).SelectMany(m => m.Places).ToList()
            : [.. lookup.Find(name, file).SelectMany(f => f.Places)];
        if (places.Select(p => p.Symbol).Distinct().Count() == 1 && image.Symbols.TryFindNearest(places[0].Address, out ElfSymbol around))
        {
            return around;
        }

        if (places.Count > 0)
        {
            throw new BootException($"'{what}' is at {places.Count} places, in {string.Join(", ", places.Select(p => p.Symbol).Distinct().Take(8))}", $"name one of these functions: ktrace disas --vmlinux {image.File.Path} {places[0].Symbol}");
        }

        var near = lookup.Suggest(name);
        throw new BootException($"no function '{what}' in {image.File.Path}", near.Count == 0 ? null : "near names: " + string.Join(", ", near));
    }

    private static string NameOf(KernelImage image, ulong target) =>
        image.Symbols.TryFindNearest(target, out ElfSymbol symbol)
            ? TerminalText.Sanitize(target == symbol.Value ? $" <{symbol.Name}>" : string.Create(CultureInfo.InvariantCulture, $" <{symbol.Name}+{target - symbol.Value}>"))
            : "";
}
