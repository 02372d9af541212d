namespace KTrace.Boot.Kernels;

/// <summary>A package file of the archive, before it is downloaded.</summary>
/// <param name="Size">Bytes of the .deb.</param>
/// <param name="InstalledSize">Bytes that it unpacks to, as the package says.</param>
/// <param name="Sha256">Of the .deb, in lower-case hexadecimal, from the archive's signed index.</param>
internal sealed record ArchivePackage(string Name, string Version, string Architecture, long Size, long InstalledSize,
    string Sha256);

/// <summary>The two packages that make a kernel: what boots, and its debug symbols.</summary>
internal sealed record KernelPackages(string Release, ArchivePackage Image, ArchivePackage Debug);

/// <summary>Where kernels come from.</summary>
internal interface IKernelArchive
{
    /// <param name="name">A release, a package name, a meta package, or null for what the distribution calls its kernel.</param>
    /// <exception cref="BootException">There is no such kernel, or the archive cannot be reached.</exception>
    Task<KernelPackages> FindAsync(string? name, IBootProgress progress, CancellationToken cancellationToken);

    /// <summary>Downloads a package file into an existing folder.</summary>
    /// <returns>The file's path.</returns>
    /// <exception cref="BootException">The archive cannot be reached, or the disk is full.</exception>
    Task<string> DownloadAsync(ArchivePackage package, string folder, IBootProgress progress,
        CancellationToken cancellationToken);
}
