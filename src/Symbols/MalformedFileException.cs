namespace KTrace.Symbols;

/// <summary>A file says something that cannot be true. Every reader in this room throws this and nothing else for broken input.</summary>
public sealed class MalformedFileException : Exception
{
    /// <param name="file">Path as the user gave it.</param>
    /// <param name="section">ELF section name, or "" for the file's own headers.</param>
    /// <param name="offset">Byte offset inside <paramref name="section"/>, or inside the file when the section is "".</param>
    /// <param name="what">What was found, in the words of the format's specification.</param>
    public MalformedFileException(string file, string section, long offset, string what)
        : base(section.Length == 0 ? $"{file}: offset 0x{offset:x}: {what}" : $"{file}: {section}+0x{offset:x}: {what}")
    {
        File = file;
        Section = section;
        Offset = offset;
        What = what;
    }

    public string File { get; }

    public string Section { get; }

    public long Offset { get; }

    public string What { get; }
}
