//! actix-web with its default settings.

use std::io;

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, rt::System, web};

use crate::{
    job::Job,
    peers::RespondOf,
    servers::{Threads, print_address, static_body, static_bytes},
    source,
};

pub(super) fn serve(respond: RespondOf, threads: Threads) -> io::Result<()> {
    System::new().block_on(async move {
        let app = move || {
            App::new().default_service(web::to(move |request: HttpRequest| async move {
                answer(respond, &request)
            }))
        };
        let server = HttpServer::new(app)
            .workers(match threads {
                Threads::One => 1,
                Threads::Two => 2,
            })
            .bind("127.0.0.1:0")?;
        server.addrs().into_iter().for_each(print_address);
        server.run().await
    })
}

fn answer(respond: RespondOf, request: &HttpRequest) -> HttpResponse {
    let path = request.path();
    if path == "/report" {
        return HttpResponse::Ok().body(source::report());
    }
    if let Some(bytes) = static_bytes(path) {
        return HttpResponse::Ok().streaming(static_body(bytes));
    }
    match Job::parse(path) {
        Some(job) => respond(job),
        None => HttpResponse::NotFound().finish(),
    }
}
