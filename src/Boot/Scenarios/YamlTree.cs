// The subset of YAML 1.2 that a scenario may use, read with YamlDotNet: mappings, sequences, scalars. No anchors and aliases (an
// alias is how a small file becomes a large one), no tags (nothing chooses a type), one document, bounded size and depth. The
// depth is checked on the parser's events first, because building the tree is recursive.
using YamlDotNet.Core;
using YamlDotNet.Core.Events;
using YamlDotNet.RepresentationModel;

namespace KTrace.Boot.Scenarios;

/// <summary>Reads YAML text into a tree whose nodes know their lines.</summary>
internal static class YamlTree
{
    public const int SizeLimit = 256 << 10;
    private const int DepthLimit = 12;

    /// <exception cref="BootException">The text is not YAML of this subset; the message names file and line.</exception>
    public static YamlMappingNode Read(string text, string file)
    {
        if (text.Length > SizeLimit)
        {
            throw new BootException($"{file}: larger than {SizeLimit >> 10} KiB: not a scenario");
        }

        try
        {
            Check(text, file);
            var stream = new YamlStream();
            stream.Load(new StringReader(text));
            return stream.Documents.Count switch
            {
                1 when stream.Documents[0].RootNode is YamlMappingNode mapping => mapping,
                1 => throw new BootException($"{file}: line 1: a scenario is a list of \"key: value\" lines"),
                0 => throw new BootException($"{file}: is empty"),
                _ => throw new BootException($"{file}: has more than one document (\"---\")"),
            };
        }
        catch (YamlException e)
        {
            throw new BootException($"{file}: line {Math.Max(1, e.Start.Line)}: {Reason(e)}", inner: e);
        }
        catch (Exception e) when (e is ArgumentException or InvalidOperationException or FormatException or OverflowException
            or IndexOutOfRangeException)
        {
            // YamlDotNet 16 lets some of these out for damaged escapes and duplicate keys.
            throw new BootException($"{file}: not a YAML file: {e.Message}", inner: e);
        }
    }

    private static void Check(string text, string file)
    {
        var parser = new Parser(new StringReader(text));
        var depth = 0;
        while (parser.MoveNext())
        {
            var current = parser.Current!;
            depth += current.NestingIncrease;
            if (depth > DepthLimit + 2)
            {
                throw new BootException($"{file}: line {current.Start.Line}: nested deeper than {DepthLimit} levels");
            }

            if (current is AnchorAlias || (current is NodeEvent { Anchor.IsEmpty: false }))
            {
                throw new BootException(
                    $"{file}: line {current.Start.Line}: anchors and aliases (& and *) are not used in scenarios",
                    "quote the text if it begins with & or *");
            }

            if (current is NodeEvent { Tag: { IsEmpty: false, IsNonSpecific: false } tag })
            {
                throw new BootException($"{file}: line {current.Start.Line}: tags ({tag.Value}) are not used in scenarios");
            }
        }
    }

    private static string Reason(YamlException e)
    {
        var inner = e.InnerException?.Message ?? e.Message;
        var colon = inner.IndexOf("): ", StringComparison.Ordinal);
        return colon >= 0 ? inner[(colon + 3)..] : inner;
    }
}
