using System.Text;

namespace KTrace.Debugger.Recording;

/// <summary>Finds a text in console output that comes in pieces of any size.</summary>
internal sealed class ConsoleMatcher(string text)
{
    private readonly byte[] _wanted = Encoding.UTF8.GetBytes(text);
    private byte[] _tail = [];

    /// <summary>Takes the next bytes; true as soon as the text has been seen.</summary>
    public bool Feed(ReadOnlySpan<byte> bytes)
    {
        byte[] joined = [.. _tail, .. bytes];
        var found = joined.AsSpan().IndexOf(_wanted) >= 0;
        _tail = joined[Math.Max(0, joined.Length - Math.Max(0, _wanted.Length - 1))..];
        return found;
    }
}
