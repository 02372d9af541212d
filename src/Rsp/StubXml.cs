// XML that stubs send: target.xml and its parts, thread lists, memory maps (gdb manual, appendices "Target Descriptions", "Thread List Format",
// "Memory Map Format"). QEMU's and OpenOCD's carry a DOCTYPE: it is skipped, never resolved, and entities of its making are errors. QEMU uses the
// prefix `xi` without declaring it: it is declared here beforehand.
using System.Globalization;
using System.Text;
using System.Xml;
using KTrace.Rsp.Commands;

namespace KTrace.Rsp;

/// <summary>Fetches and opens the XML documents of a stub, within bounds.</summary>
internal static class StubXml
{
    public const int MaxBytes = 1 << 20;

    /// <summary>A stub that gives a document byte by byte would take for ever.</summary>
    private const int MaxPieces = 16384;

    private static readonly XmlReaderSettings s_settings = new()
    {
        DtdProcessing = DtdProcessing.Ignore,
        XmlResolver = null,
        MaxCharactersInDocument = MaxBytes,
        MaxCharactersFromEntities = 1024,
        IgnoreComments = true,
        IgnoreWhitespace = true,
    };

    /// <summary>Reads a whole object by `qXfer:OBJECT:read:ANNEX`.</summary>
    /// <exception cref="RspException">The stub refused, or the document is larger than <see cref="MaxBytes"/>.</exception>
    public static async ValueTask<byte[]> FetchAsync(RspExchange exchange, string item, string annex, CancellationToken cancellationToken)
    {
        var whole = new MemoryStream();
        for (var piece = 0; piece < MaxPieces && whole.Length < MaxBytes; piece++)
        {
            // The reply's first byte says whether more follows.
            var request = new TransferObject(item, annex, (int)whole.Length, exchange.Features.PacketSize - 5);
            var part = await exchange.QueryAsync(request, cancellationToken).ConfigureAwait(false);
            whole.Write(part.Bytes);
            if (part.IsLast)
            {
                return whole.ToArray();
            }
        }

        throw new RspException(RspErrorKind.Protocol, $"{PacketText.Brief(Encoding.UTF8.GetBytes($"{item} {annex}"))} has more than {MaxBytes} bytes or {MaxPieces} pieces");
    }

    /// <summary>The elements of a document with the text that follows each start tag, in order.</summary>
    /// <param name="take">Is called on each element; it may read attributes only.</param>
    /// <param name="text">Is called with the text after an element, and that element's name.</param>
    /// <exception cref="RspException">Protocol: malformed XML.</exception>
    public static void Read(string file, byte[] bytes, Action<XmlReader> take, Action<string, string>? text = null)
    {
        try
        {
            var prefixes = new XmlNamespaceManager(new NameTable());
            prefixes.AddNamespace("xi", "http://www.w3.org/2001/XInclude");
            using var xml = XmlReader.Create(new MemoryStream(bytes), s_settings, new XmlParserContext(null, prefixes, null, XmlSpace.None));
            var element = "";
            while (xml.Read())
            {
                if (xml.NodeType == XmlNodeType.Element)
                {
                    element = xml.LocalName;
                    take(xml);
                }
                else if (xml.NodeType == XmlNodeType.Text)
                {
                    text?.Invoke(element, xml.Value.Trim());
                }
            }
        }
        catch (XmlException e)
        {
            throw Broken(file, $"malformed XML at line {e.LineNumber}, column {e.LinePosition}");
        }
    }

    public static string Attribute(string file, XmlReader xml, string name) =>
        xml.GetAttribute(name) ?? throw Broken(file, $"<{xml.LocalName}> has no {name}");

    /// <summary>A decimal number.</summary>
    public static int Number(string file, string text, int limit) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number <= limit
            ? number
            : throw Broken(file, $"{PacketText.Brief(Encoding.UTF8.GetBytes(text))} is no number up to {limit}");

    public static RspException Broken(string file, string what) => new(RspErrorKind.Protocol, $"{PacketText.Brief(Encoding.UTF8.GetBytes(file))}: {what}");
}
